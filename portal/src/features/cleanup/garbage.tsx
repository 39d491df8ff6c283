import { Switch } from "@mantine/core";
import { useI18n } from "../../i18n";
import { Job } from "./job";

export function Garbage() {
  const { t } = useI18n();
  return (
    <Job
      title={t("Garbage collection")}
      base="/system/gc"
      one="/system/gc/{gc_id}"
      id="gc_id"
      run={t("Collect now")}
      warning={t("Blobs that nothing uses are deleted from storage. A dry run shows first how much that is.")}
      standard={{ delete_untagged: false, workers: 1 }}
      form={(parameters, set) => (
        <Switch
          label={t("Delete untagged artifacts too")}
          description={t("The registry stays writable while it runs.")}
          checked={parameters.delete_untagged === true}
          onChange={(event) => set({ delete_untagged: event.currentTarget.checked })}
        />
      )}
    />
  );
}
