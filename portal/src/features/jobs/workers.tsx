import { Button, Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { Worker, WorkerPool } from "../../api/types";
import { LogModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Card, Empty, Time } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function Workers() {
  const { t } = useI18n();
  const pools = useGet<WorkerPool[]>("/jobservice/pools", {}, { refetchInterval: 5000 });
  const workers = useGet<Worker[]>(
    "/jobservice/pools/{pool_id}/workers",
    { path: { pool_id: "all" } },
    { refetchInterval: 3000 },
  );
  const [log, setLog] = useState<string | null>(null);
  const stop = useAction(
    (id: string) => api.put("/jobservice/jobs/{job_id}", { path: { job_id: id } }),
    "Stopped",
  );
  return (
    <Stack>
      <Card title={t("Pools")}>
        <DataTable
          label={t("Pools")}
          list={{ rows: pools.data ?? [], error: pools.error, loading: pools.isPending }}
          rowKey={(row) => row.worker_pool_id}
          empty={<Empty title={t("No instance runs jobs")} />}
          columns={[
            { title: t("Host"), cell: (row) => <b>{row.host || row.worker_pool_id}</b> },
            { title: t("Workers"), align: "right", cell: (row) => row.concurrency ?? "–" },
            { title: t("Started"), cell: (row) => <Time value={row.start_at} /> },
            { title: t("Last heartbeat"), cell: (row) => <Time value={row.heartbeat_at} /> },
          ]}
        />
      </Card>
      <Card title={t("Workers")}>
        <DataTable
          label={t("Workers")}
          list={{ rows: workers.data ?? [], error: workers.error, loading: workers.isPending }}
          rowKey={(row) => row.id}
          empty={<Empty title={t("No worker is busy")} />}
          columns={[
            {
              title: t("Job"),
              cell: (row) => (row.job_name ? <b>{row.job_name}</b> : <Text c="dimmed">{t("idle")}</Text>),
            },
            { title: t("Pool"), cell: (row) => row.pool_id },
            { title: t("Started"), cell: (row) => <Time value={row.start_at} /> },
            {
              title: t("Actions"),
              cell: (row) =>
                row.job_id ? (
                  <Group gap={4}>
                    <Button size="compact-xs" variant="subtle" onClick={() => setLog(row.job_id ?? null)}>
                      {t("Log")}
                    </Button>
                    <Button
                      size="compact-xs"
                      variant="subtle"
                      color="red"
                      onClick={() => stop.mutate(row.job_id!)}
                    >
                      {t("Stop")}
                    </Button>
                  </Group>
                ) : (
                  "–"
                ),
            },
          ]}
        />
      </Card>
      <LogModal
        title={t("Log of job {id}", { id: log ?? "" })}
        source={
          log === null
            ? null
            : { template: "/jobservice/jobs/{job_id}/log", options: { path: { job_id: log } } }
        }
        live
        onClose={() => setLog(null)}
      />
    </Stack>
  );
}
