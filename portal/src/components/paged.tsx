import { Button } from "@mantine/core";
import { useState } from "react";
import { useI18n } from "../i18n";

/** Long lists that came whole are shown a part at a time, so the page stays quick. */
export function Paged<T>({ rows, children }: { rows: T[]; children: (part: T[]) => React.ReactNode }) {
  const { t } = useI18n();
  const [shown, setShown] = useState(50);
  return (
    <>
      {children(rows.slice(0, shown))}
      {rows.length > shown && (
        <Button variant="default" onClick={() => setShown(shown + 200)}>
          {t("Show more ({n} left)", { n: rows.length - shown })}
        </Button>
      )}
    </>
  );
}
