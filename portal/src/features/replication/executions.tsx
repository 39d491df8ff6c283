import { Button, Group, Progress, Stack, Text, Title } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { ReplicationExecution, ReplicationPolicy, ReplicationTask } from "../../api/types";
import { LogModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Empty, finished, Status, Time, untilFinished } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { duration } from "../../lib/format";

export function Executions({ policy, onAll }: { policy?: ReplicationPolicy; onAll: () => void }) {
  const { t, word } = useI18n();
  const list = useList<ReplicationExecution>(
    "/replication/executions",
    { query: { policy_id: policy?.id }, sort: "-start_time", address: "run_" },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.status)) ? 2000 : 15_000,
    },
  );
  const stop = useAction(
    (row: ReplicationExecution) => api.put("/replication/executions/{id}", { path: { id: row.id } }),
    "Stopped",
  );
  return (
    <section>
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          {policy ? t("Execution history of {name}", { name: policy.name }) : t("Execution history")}
        </Title>
        {policy && (
          <Button size="compact-sm" variant="subtle" onClick={onAll}>
            {t("Show all rules")}
          </Button>
        )}
      </Group>
      <DataTable
        label={t("Runs")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No runs yet")} />}
        expand={(row) => <Tasks execution={row} />}
        columns={[
          { title: t("Run"), cell: (row) => row.id },
          { title: t("Status"), cell: (row) => <Status value={row.status} title={row.status_text} /> },
          { title: t("Progress"), cell: (row) => <RunProgress row={row} /> },
          { title: t("Trigger"), cell: (row) => word(row.trigger ?? "") },
          { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
          { title: t("Took"), cell: (row) => duration(row.start_time, row.end_time) },
        ]}
        actions={[
          { label: t("Stop"), hidden: (row) => finished(row.status), run: (row) => stop.mutate(row) },
        ]}
      />
    </section>
  );
}

function RunProgress({ row }: { row: ReplicationExecution }) {
  const { t } = useI18n();
  const total = row.total ?? 0;
  const part = (n: number | undefined) => (total ? (100 * (n ?? 0)) / total : 0);
  return (
    <Stack gap={4} miw={160}>
      <Progress.Root size="sm">
        <Progress.Section value={part(row.succeed)} color="teal" aria-label={t("Succeeded")} />
        <Progress.Section value={part(row.failed)} color="red" aria-label={t("Failed")} />
        <Progress.Section
          value={part(row.in_progress)}
          color="blue"
          striped
          animated
          aria-label={t("Running")}
        />
      </Progress.Root>
      <Text size="xs" c="dimmed">
        {t("{done} of {total}", { done: row.succeed ?? 0, total })}
        {row.failed ? ` · ${t("{n} failed", { n: row.failed })}` : ""}
      </Text>
    </Stack>
  );
}

function Tasks({ execution }: { execution: ReplicationExecution }) {
  const { t } = useI18n();
  const [log, setLog] = useState<ReplicationTask | null>(null);
  const list = useList<ReplicationTask>(
    "/replication/executions/{id}/tasks",
    { path: { id: execution.id } },
    { refetchInterval: untilFinished(execution) },
  );
  return (
    <>
      <DataTable
        label={t("Tasks")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("Nothing to copy")} />}
        columns={[
          { title: t("Status"), cell: (row) => <Status value={row.status} /> },
          { title: t("Operation"), cell: (row) => row.operation ?? "–" },
          { title: t("From"), cell: (row) => row.src_resource ?? "–" },
          { title: t("To"), cell: (row) => row.dst_resource ?? "–" },
          { title: t("Took"), cell: (row) => duration(row.start_time, row.end_time) },
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
        title={t("Log of the task")}
        source={
          log && {
            template: "/replication/executions/{id}/tasks/{task_id}/log",
            options: { path: { id: execution.id, task_id: log.id } },
          }
        }
        live={!!log && !finished(log.status)}
        onClose={() => setLog(null)}
      />
    </>
  );
}
