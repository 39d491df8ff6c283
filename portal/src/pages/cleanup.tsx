// Garbage collection and the rotation of the audit log.
import { Button, Checkbox, Group, NativeSelect, NumberInput, Stack, Switch, Tabs, Text } from "@mantine/core";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import type { JobHistory, Schedule } from "../api/types";
import { LogModal } from "../components/dialogs";
import { ScheduleEditor } from "../components/schedule";
import { DataTable } from "../components/table";
import { Card, Empty, finished, Page, Status, Time } from "../components/ui";
import { bytes } from "../format";
import { useAction, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";

export function CleanUp() {
  const { t } = useI18n();
  const { tab = "gc" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Clean up")} description={t("Frees storage, and keeps the audit log short.")}>
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/clearing-job/${next}`)}>
        <Tabs.List mb="md">
          <Tabs.Tab value="gc">{t("Garbage collection")}</Tabs.Tab>
          <Tabs.Tab value="audit-log-purge">{t("Log rotation")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="gc">
          <Garbage />
        </Tabs.Panel>
        <Tabs.Panel value="audit-log-purge">
          <Purge />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function parameters(value: string | undefined): Record<string, unknown> {
  try {
    return value ? JSON.parse(value) : {};
  } catch {
    return {};
  }
}

// The two jobs have the same life: run by hand or by schedule, history, stop and log.
function Job(props: {
  title: string;
  base: "/system/gc" | "/system/purgeaudit";
  one: "/system/gc/{gc_id}" | "/system/purgeaudit/{purge_id}";
  id: "gc_id" | "purge_id";
  parameters: Record<string, unknown>;
  form: React.ReactNode;
  run: string;
  children?: React.ReactNode;
}) {
  const { t, word } = useI18n();
  const [log, setLog] = useState<number | null>(null);
  const schedule = useGet<Schedule>(`${props.base}/schedule`);
  const list = useList<JobHistory>(
    props.base,
    { sort: "-creation_time" },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.job_status)) ? 2000 : 20_000,
    },
  );
  const start = useAction(
    (dry_run: boolean) =>
      api.create(`${props.base}/schedule`, {
        body: { parameters: { ...props.parameters, dry_run }, schedule: { type: "Manual" } },
      }),
    "Started",
  );
  const save = useAction(async (value: object) => {
    const body = { parameters: props.parameters, schedule: value };
    if (schedule.data?.schedule) await api.put(`${props.base}/schedule`, { body });
    else await api.create(`${props.base}/schedule`, { body });
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
            <Button size="xs" onClick={() => start.mutate(false)}>
              {props.run}
            </Button>
          </Group>
        }
      >
        <Stack>
          {props.form}
          {(schedule.data !== undefined || schedule.error) && (
            <ScheduleEditor
              key={schedule.data?.schedule?.cron}
              value={schedule.data?.schedule}
              busy={save.isPending}
              onSave={(value) => save.mutate(value)}
            />
          )}
          {props.children}
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

function Garbage() {
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

const OPERATIONS = ["create", "delete", "pull", "update"];

function Purge() {
  const { t, word } = useI18n();
  const [amount, setAmount] = useState(90);
  const [unit, setUnit] = useState("24");
  const [operations, setOperations] = useState(OPERATIONS);
  return (
    <Job
      title={t("Log rotation")}
      base="/system/purgeaudit"
      one="/system/purgeaudit/{purge_id}"
      id="purge_id"
      run={t("Rotate now")}
      parameters={{
        audit_retention_hour: amount * Number(unit),
        include_event_types: operations.join(","),
        include_operations: operations.join(","),
      }}
      form={
        <>
          <Group align="flex-end">
            <NumberInput
              label={t("Keep entries of the last")}
              min={1}
              value={amount}
              onChange={(value) => setAmount(Number(value) || 1)}
            />
            <NativeSelect
              aria-label={t("Unit")}
              value={unit}
              onChange={(event) => setUnit(event.currentTarget.value)}
              data={[
                { value: "1", label: t("hours") },
                { value: "24", label: t("days") },
              ]}
            />
          </Group>
          <Checkbox.Group
            label={t("Operations that are deleted")}
            value={operations}
            onChange={setOperations}
          >
            <Group mt={6}>
              {OPERATIONS.map((name) => (
                <Checkbox key={name} value={name} label={word(name)} />
              ))}
            </Group>
          </Checkbox.Group>
        </>
      }
    />
  );
}
