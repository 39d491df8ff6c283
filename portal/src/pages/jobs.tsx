// The job service: queues, schedules and workers.
import { Badge, Button, Group, Stack, Tabs, Text } from "@mantine/core";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import type { JobQueue, SchedulerStatus, ScheduleTask, Worker, WorkerPool } from "../api/types";
import { useConfirm } from "../components/confirm";
import { LogModal } from "../components/dialogs";
import { DataTable, Toolbar } from "../components/table";
import { Card, Empty, Page, Time } from "../components/ui";
import { useAction, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";

export function Jobs() {
  const { t } = useI18n();
  const { tab = "pending-jobs" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Job service dashboard")} description={t("Work in the background of the whole cluster.")}>
      <Tabs
        value={tab}
        keepMounted={false}
        onChange={(next) => navigate(`/harbor/job-service-dashboard/${next}`)}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="pending-jobs">{t("Queues")}</Tabs.Tab>
          <Tabs.Tab value="schedules">{t("Schedules")}</Tabs.Tab>
          <Tabs.Tab value="workers">{t("Workers")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="pending-jobs">
          <Queues />
        </Tabs.Panel>
        <Tabs.Panel value="schedules">
          <Schedules />
        </Tabs.Panel>
        <Tabs.Panel value="workers">
          <Workers />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Queues() {
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

function Schedules() {
  const { t, word } = useI18n();
  const list = useList<ScheduleTask>("/schedules");
  const paused = useGet<SchedulerStatus>("/schedules/{job_type}/paused", { path: { job_type: "all" } });
  const act = useAction(
    (action: "pause" | "resume") =>
      api.put("/jobservice/queues/{job_type}", { path: { job_type: "scheduler" }, body: { action } }),
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

function Workers() {
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
