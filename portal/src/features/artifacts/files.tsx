import { useQuery } from "@tanstack/react-query";
import { api } from "../../api/client";
import { Await } from "../../components/ui";
import { useI18n } from "../../i18n";
import { ROOT, type Where } from "./where";

export function Addition({ where, name }: { where: Where; name: string }) {
  const { t } = useI18n();
  const query = useQuery({
    queryKey: ["addition", where, name],
    queryFn: ({ signal }) =>
      api.text(`${ROOT}/additions/{addition}`, { path: { ...where, addition: name }, signal }),
  });
  return (
    <Await query={query}>
      {(text) => {
        let shown = text;
        if (name === "dependencies") {
          try {
            shown = JSON.stringify(JSON.parse(text), null, 2);
          } catch {
            // Shown as it came.
          }
        }
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          <pre className="code-block markdown" tabIndex={0}>
            {shown || t("Empty")}
          </pre>
        );
      }}
    </Await>
  );
}
