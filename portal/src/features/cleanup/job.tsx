import { Button, Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { JobHistory, Schedule } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { LogModal } from "../../components/dialogs";
import { ScheduleEditor } from "../../components/schedule";
import { DataTable } from "../../components/table";
import { Card, Empty, finished, Status, Time } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { logged } from "../../lib/operations";

export type Parameters = Record<string, unknown>;

export function parameters(value: string | undefined): Record<string, unknown> {
  try {
    return value ? JSON.parse(value) : {};
  } catch {
    return {};
  }
}

// The two jobs have the same life: run by hand or by schedule, history, stop and log.
export function Job(props: {
  title: string;
  base: "/system/gc" | "/system/purgeaudit";
  one: "/system/gc/{gc_id}" | "/system/purgeaudit/{purge_id}";
  id: "gc_id" | "purge_id";
  /** What a job without a schedule starts with. */
  standard: Parameters;
  form: (parameters: Parameters, set: (changed: Parameters) => void) => React.ReactNode;
  run: string;
  /** What cannot be undone, when the job is started for good. */
  warning: string;
}) {
  const { t, word } = useI18n();
  const [log, setLog] = useState<number | null>(null);
  const confirm = useConfirm();
  const schedule = useGet<Schedule>(`${props.base}/schedule`);
  // Those of the schedule, and over them what was touched here: what is not shown stays.
  const [touched, setTouched] = useState<Parameters>({});
  const stored = schedule.data?.parameters ?? {};
  const current: Parameters = { ...(Object.keys(stored).length ? stored : props.standard), ...touched };
  const list = useList<JobHistory>(
    props.base,
    { sort: "-creation_time", address: "" },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.job_status)) ? 2000 : 20_000,
    },
  );
  const start = useAction(
    (dry_run: boolean) =>
      logged(
        props.base === "/system/gc" ? "Garbage collection" : "Log rotation",
        dry_run ? t("Dry run") : "",
        () =>
          api.create(`${props.base}/schedule`, {
            body: { parameters: { ...current, dry_run }, schedule: { type: "Manual" } },
          }),
        (id) => ({ template: props.one, options: { path: { [props.id]: id } } }),
      ),
    "Started",
  );
  const save = useAction(async (value: object) => {
    await api.put(`${props.base}/schedule`, { body: { parameters: current, schedule: value } });
    setTouched({});
  }, "Saved");
  const stop = useAction(
    (row: JobHistory) => api.put(props.one, { path: { [props.id]: row.id } }),
    "Stopped",
  );
  const live = list.rows.some((row) => row.id === log && !finished(row.job_status));
  return (
    <Stack>
      <Card
        title={props.title}
        right={
          <Group gap="xs">
            <Button size="xs" variant="default" onClick={() => start.mutate(true)}>
              {t("Dry run")}
            </Button>
            <Button
              size="xs"
              onClick={async () => {
                const yes = await confirm({
                  title: `${props.run}?`,
                  body: props.warning,
                  confirm: props.run,
                  danger: true,
                });
                if (yes) start.mutate(false);
              }}
            >
              {props.run}
            </Button>
          </Group>
        }
      >
        <Stack>
          {schedule.data !== undefined &&
            props.form(current, (changed) => setTouched((old) => ({ ...old, ...changed })))}
          {(schedule.data !== undefined || schedule.error) && (
            <ScheduleEditor
              key={schedule.data?.schedule?.cron}
              value={schedule.data?.schedule}
              busy={save.isPending}
              onSave={(value) => save.mutate(value)}
            />
          )}
        </Stack>
      </Card>
      <DataTable
        label={t("History")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No runs yet")} />}
        columns={[
          { title: t("Run"), cell: (row) => row.id },
          { title: t("Started by"), cell: (row) => word(row.job_kind) || "–" },
          {
            title: t("Dry run"),
            cell: (row) => (parameters(row.job_parameters).dry_run ? t("Yes") : t("No")),
          },
          { title: t("Status"), cell: (row) => <Status value={row.job_status} /> },
          { title: t("Outcome"), cell: (row) => <Outcome value={parameters(row.job_parameters)} /> },
          { title: t("Started"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
          { title: t("Last change"), sort: "update_time", cell: (row) => <Time value={row.update_time} /> },
          {
            title: t("Log"),
            cell: (row) => (
              <Button size="compact-xs" variant="subtle" onClick={() => setLog(row.id)}>
                {t("Log")}
              </Button>
            ),
          },
        ]}
        actions={[
          { label: t("Stop"), hidden: (row) => finished(row.job_status), run: (row) => stop.mutate(row) },
        ]}
      />
      <LogModal
        title={t("Log of run {n}", { n: log ?? 0 })}
        source={
          log === null ? null : { template: `${props.one}/log`, options: { path: { [props.id]: log } } }
        }
        live={live}
        onClose={() => setLog(null)}
      />
    </Stack>
  );
}

function Outcome({ value }: { value: Record<string, unknown> }) {
  const { t } = useI18n();
  const parts: string[] = [];
  if (typeof value.purged_blobs === "number" || typeof value.purged_manifests === "number") {
    parts.push(
      t("{blobs} blobs, {manifests} manifests", {
        blobs: Number(value.purged_blobs ?? 0),
        manifests: Number(value.purged_manifests ?? 0),
      }),
    );
  }
  if (typeof value.freed_space === "number") parts.push(bytes(value.freed_space));
  return <Text size="sm">{parts.join(" · ") || "–"}</Text>;
}
