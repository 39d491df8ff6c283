import { Badge, Stack } from "@mantine/core";
import { api } from "../../api/client";
import type { JobQueue } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { DataTable, Toolbar } from "../../components/table";
import { Empty } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function Queues() {
  const { t, word } = useI18n();
  const confirm = useConfirm();
  const query = useGet<JobQueue[]>("/jobservice/queues", {}, { refetchInterval: 5000 });
  const act = useAction(
    ({ type, action }: { type: string; action: "pause" | "resume" | "stop" }) =>
      api.put("/jobservice/queues/{job_type}", { path: { job_type: type }, body: { action } }),
    "Done",
  );
  return (
    <Stack>
      <Toolbar refresh={query.refetch} />
      <DataTable
        label={t("Queues")}
        list={{
          rows: query.data ?? [],
          error: query.error,
          loading: query.isPending,
          refetch: query.refetch,
        }}
        rowKey={(row) => row.job_type}
        empty={<Empty title={t("No queues")} />}
        columns={[
          { title: t("Kind of job"), cell: (row) => <b>{word(row.job_type)}</b> },
          { title: t("Waiting"), align: "right", cell: (row) => row.count ?? 0 },
          {
            title: t("Oldest waits for"),
            align: "right",
            cell: (row) => (row.latency ? `${Math.round(row.latency)} s` : "–"),
          },
          {
            title: t("State"),
            cell: (row) => (
              <Badge color={row.paused ? "orange" : "teal"} variant="light" tt="none">
                {row.paused ? t("Paused") : t("Open")}
              </Badge>
            ),
          },
        ]}
        actions={[
          {
            label: t("Pause"),
            hidden: (row) => !!row.paused,
            run: (row) => act.mutate({ type: row.job_type, action: "pause" }),
          },
          {
            label: t("Resume"),
            hidden: (row) => !row.paused,
            run: (row) => act.mutate({ type: row.job_type, action: "resume" }),
          },
          {
            label: t("Drop what waits"),
            danger: true,
            run: async (row) => {
              const yes = await confirm({
                title: t("Drop the waiting jobs of {name}?", { name: row.job_type }),
                body: t("They do not run. What runs already goes on."),
                confirm: t("Drop"),
                danger: true,
              });
              if (yes) act.mutate({ type: row.job_type, action: "stop" });
            },
          },
        ]}
      />
    </Stack>
  );
}
