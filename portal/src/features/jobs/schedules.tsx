import { Button, Stack } from "@mantine/core";
import { api } from "../../api/client";
import type { SchedulerStatus, ScheduleTask } from "../../api/types";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Time } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";

export function Schedules() {
  const { t, word } = useI18n();
  const list = useList<ScheduleTask>("/schedules", { address: "" });
  const paused = useGet<SchedulerStatus>("/schedules/{job_type}/paused", { path: { job_type: "all" } });
  const act = useAction(
    (action: "pause" | "resume") =>
      api.put("/jobservice/queues/{job_type}", { path: { job_type: "SCHEDULER" }, body: { action } }),
    "Done",
  );
  return (
    <Stack>
      <Toolbar refresh={list.refetch}>
        {paused.data && (
          <Button variant="default" onClick={() => act.mutate(paused.data.paused ? "resume" : "pause")}>
            {paused.data.paused ? t("Resume all schedules") : t("Pause all schedules")}
          </Button>
        )}
      </Toolbar>
      <DataTable
        label={t("Schedules")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("Nothing is scheduled")} />}
        columns={[
          { title: t("Kind of job"), cell: (row) => <b>{word(row.vendor_type)}</b> },
          { title: t("Of"), cell: (row) => (row.vendor_id && row.vendor_id > 0 ? row.vendor_id : "–") },
          { title: t("Cron"), cell: (row) => <code>{row.cron}</code> },
          { title: t("Last change"), cell: (row) => <Time value={row.update_time} /> },
        ]}
      />
    </Stack>
  );
}
