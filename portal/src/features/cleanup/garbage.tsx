import { Switch } from "@mantine/core";
import { useState } from "react";
import { useI18n } from "../../i18n";
import { Job } from "./job";

export function Garbage() {
  const { t } = useI18n();
  const [untagged, setUntagged] = useState(false);
  return (
    <Job
      title={t("Garbage collection")}
      base="/system/gc"
      one="/system/gc/{gc_id}"
      id="gc_id"
      run={t("Collect now")}
      parameters={{ delete_untagged: untagged, workers: 1 }}
      form={
        <Switch
          label={t("Delete untagged artifacts too")}
          description={t("The registry stays writable while it runs.")}
          checked={untagged}
          onChange={(event) => setUntagged(event.currentTarget.checked)}
        />
      }
    />
  );
}
