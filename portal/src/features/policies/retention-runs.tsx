import { Button } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { RetentionExecution, RetentionTask } from "../../api/types";
import { LogModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Empty, finished, Status, Time, untilFinished } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { duration } from "../../lib/format";

export function RetentionRuns({ id, mayRun }: { id: number; mayRun: boolean }) {
  const { t, word } = useI18n();
  const list = useList<RetentionExecution>(
    "/retentions/{id}/executions",
    { path: { id }, pageSize: 15 },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.status)) ? 2000 : false,
    },
  );
  const stop = useAction(
    (eid: number) =>
      api.patch("/retentions/{id}/executions/{eid}", { path: { id, eid }, body: { action: "stop" } }),
    "Stopped",
  );
  return (
    <DataTable
      label={t("Retention runs")}
      list={list}
      rowKey={(row) => row.id}
      empty={<Empty title={t("No runs yet")} />}
      expand={(row) => <RetentionTasks id={id} execution={row} />}
      columns={[
        { title: t("Run"), cell: (row) => row.id },
        { title: t("Status"), cell: (row) => <Status value={row.status} /> },
        { title: t("Dry run"), cell: (row) => (row.dry_run ? t("Yes") : t("No")) },
        { title: t("Started by"), cell: (row) => word(row.trigger) || "–" },
        { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
        { title: t("Took"), cell: (row) => duration(row.start_time, row.end_time) },
      ]}
      actions={
        mayRun
          ? [{ label: t("Stop"), hidden: (row) => finished(row.status), run: (row) => stop.mutate(row.id) }]
          : undefined
      }
    />
  );
}

function RetentionTasks({ id, execution }: { id: number; execution: RetentionExecution }) {
  const { t } = useI18n();
  const [log, setLog] = useState<RetentionTask | null>(null);
  const list = useList<RetentionTask>(
    "/retentions/{id}/executions/{eid}/tasks",
    { path: { id, eid: execution.id } },
    { refetchInterval: untilFinished(execution) },
  );
  return (
    <>
      <DataTable
        label={t("Repositories of the run")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No repository was looked at")} />}
        columns={[
          { title: t("Repository"), cell: (row) => row.repository },
          { title: t("Status"), cell: (row) => <Status value={row.status} /> },
          { title: t("Kept"), align: "right", cell: (row) => `${row.retained ?? 0} / ${row.total ?? 0}` },
          {
            title: t("Log"),
            cell: (row) => (
              <Button size="compact-xs" variant="subtle" onClick={() => setLog(row)}>
                {t("Log")}
              </Button>
            ),
          },
        ]}
      />
      <LogModal
        title={t("Log of {name}", { name: log?.repository ?? "" })}
        source={
          log && {
            template: "/retentions/{id}/executions/{eid}/tasks/{tid}",
            options: { path: { id, eid: execution.id, tid: log.id } },
          }
        }
        live={!!log && !finished(log.status)}
        onClose={() => setLog(null)}
      />
    </>
  );
}
