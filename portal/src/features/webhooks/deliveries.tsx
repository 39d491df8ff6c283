import { Button, Code, Text } from "@mantine/core";
import { useState } from "react";
import type { Execution, Task } from "../../api/types";
import { LogModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Empty, finished, Status, Time, untilFinished } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { ONE } from "./paths";

export function Deliveries({ project, policy }: { project: number; policy: number }) {
  const { t, word } = useI18n();
  const path = { project_name_or_id: project, webhook_policy_id: policy };
  const list = useList<Execution>(
    `${ONE}/executions`,
    { path },
    {
      refetchInterval: (query) => (query.state.data?.rows.some((row) => !finished(row.status)) ? 2000 : 5000),
    },
  );
  return (
    <DataTable
      label={t("Deliveries")}
      list={list}
      rowKey={(row) => row.id}
      empty={<Empty title={t("Nothing was delivered yet")} />}
      expand={(row) => <Attempts path={{ ...path, execution_id: row.id }} execution={row} />}
      columns={[
        { title: t("Delivery"), cell: (row) => row.id },
        {
          title: t("Status"),
          cell: (row) => (
            <Attempted
              status={row.status}
              attempts={Number(row.extra_attrs?.attempts ?? 0)}
              message={row.status_message}
            />
          ),
        },
        { title: t("Event"), cell: (row) => word(String(row.extra_attrs?.event_type ?? row.vendor_type)) },
        { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
        { title: t("Ended"), cell: (row) => <Time value={row.end_time} /> },
      ]}
    />
  );
}

/** A delivery that was refused and is tried again is neither waiting nor failed for good. */
function Attempted(props: { status?: string; attempts: number; message?: string }) {
  const { t } = useI18n();
  const again = props.attempts > 0 && !finished(props.status);
  return (
    <div>
      <Status value={again ? "Retrying" : props.status} title={props.message} />
      {again && (
        <Text size="xs" c="dimmed">
          {t("{n} attempts failed", { n: props.attempts })}
        </Text>
      )}
      {props.message && (again || props.status === "Error") && (
        <Text size="xs" className="wrap">
          {props.message}
        </Text>
      )}
    </div>
  );
}

/** What was sent, how often it was tried, and what the receiver answered. */
function Attempts(props: { path: Record<string, number>; execution: Execution }) {
  const { t } = useI18n();
  const [log, setLog] = useState<Task | null>(null);
  const list = useList<Task>(
    `${ONE}/executions/{execution_id}/tasks`,
    { path: props.path },
    { refetchInterval: untilFinished(props.execution) },
  );
  // The task as it is listed now, so that the log ends to grow when the task ends.
  const current = list.rows.find((row) => row.id === log?.id) ?? log;
  return (
    <>
      <DataTable
        label={t("Attempts")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("Nothing was delivered yet")} />}
        expand={(row) => (
          <Code block className="wrap">
            {String(row.extra_attrs?.payload ?? "–")}
          </Code>
        )}
        columns={[
          {
            title: t("Status"),
            cell: (row) => <Attempted status={row.status} attempts={row.run_count ?? 0} />,
          },
          { title: t("Tried"), align: "right", cell: (row) => t("{n} times", { n: row.run_count }) },
          { title: t("Answer"), cell: (row) => <Text size="sm">{row.status_message || "–"}</Text> },
          { title: t("Last change"), cell: (row) => <Time value={row.update_time} /> },
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
        title={t("Log of the delivery")}
        source={
          log && {
            template: `${ONE}/executions/{execution_id}/tasks/{task_id}/log`,
            options: { path: { ...props.path, task_id: log.id } },
          }
        }
        live={!!current && !finished(current.status)}
        onClose={() => setLog(null)}
      />
    </>
  );
}
