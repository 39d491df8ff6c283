// Replication rules, their runs with live progress, and the tasks and logs of a run.
import { Badge, Button, Group, Progress, Stack, Text, Title } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../api/client";
import type {
  Registry,
  ReplicationExecution,
  ReplicationFilter,
  ReplicationPolicy,
  ReplicationTask,
} from "../api/types";
import { useConfirm } from "../components/confirm";
import { type Field, FormModal, LogModal } from "../components/dialogs";
import { isCron } from "../components/schedule";
import { DataTable, Toolbar } from "../components/table";
import { Empty, finished, Page, Status, Time, untilFinished } from "../components/ui";
import { duration, like, q } from "../format";
import { useAction, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";

export function Replications() {
  const { t, word } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [editing, setEditing] = useState<Partial<ReplicationPolicy> | null>(null);
  const [chosen, setChosen] = useState<(string | number)[]>([]);
  const list = useList<ReplicationPolicy>("/replication/policies", { query: { q: q({ name: like(name) }) } });
  const policy = list.rows.find((row) => row.id === chosen[0]);
  const start = useAction(
    (row: ReplicationPolicy) => api.create("/replication/executions", { body: { policy_id: row.id } }),
    "Replication started",
  );
  const put = useAction(
    (row: ReplicationPolicy) => api.put("/replication/policies/{id}", { path: { id: row.id }, body: row }),
    "Saved",
  );
  const remove = useAction(
    (row: ReplicationPolicy) => api.delete("/replication/policies/{id}", { path: { id: row.id } }),
    "Deleted",
  );
  const pulls = (row: Partial<ReplicationPolicy>) => !!row.src_registry?.id;
  return (
    <Page
      title={t("Replications")}
      description={t("Rules that copy artifacts to or from another registry.")}
      actions={
        <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({ enabled: true })}>
          {t("New rule")}
        </Button>
      }
    >
      <Toolbar search={setName} refresh={list.refetch}>
        <Button variant="default" disabled={!policy?.enabled} onClick={() => policy && start.mutate(policy)}>
          {t("Replicate now")}
        </Button>
      </Toolbar>
      <DataTable
        label={t("Replication rules")}
        list={list}
        rowKey={(row) => row.id}
        selected={chosen}
        // One rule at a time: its runs are shown below.
        onSelect={(keys) => setChosen(keys.slice(-1))}
        empty={
          <Empty title={name ? t("No rule matches") : t("No rules yet")}>
            {t("Register the other registry first, then say what to copy and when.")}
          </Empty>
        }
        columns={[
          { title: t("Name"), sort: "name", cell: (row) => <b>{row.name}</b> },
          {
            title: t("State"),
            cell: (row) => (
              <Badge color={row.enabled ? "teal" : "gray"} variant="light" tt="none">
                {row.enabled ? t("Enabled") : t("Disabled")}
              </Badge>
            ),
          },
          { title: t("Mode"), cell: (row) => (pulls(row) ? t("Pull") : t("Push")) },
          {
            title: t("Registry"),
            cell: (row) => (pulls(row) ? row.src_registry?.name : row.dest_registry?.name) ?? "–",
          },
          { title: t("Trigger"), cell: (row) => word(row.trigger?.type ?? "manual") },
          {
            title: t("Filters"),
            cell: (row) => (
              <Text size="xs">
                {row.filters
                  ?.map(
                    (item) =>
                      `${word(item.type)}: ${Array.isArray(item.value) ? item.value.join("|") : item.value}`,
                  )
                  .join(", ") || t("everything")}
              </Text>
            ),
          },
        ]}
        actions={[
          { label: t("Replicate now"), disabled: (row) => !row.enabled, run: (row) => start.mutate(row) },
          { label: t("Edit"), run: setEditing },
          { label: t("Enable or disable"), run: (row) => put.mutate({ ...row, enabled: !row.enabled }) },
          {
            label: t("Delete"),
            danger: true,
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete {name}?", { name: row.name }),
                body: t("What it copied stays where it is."),
                confirm: t("Delete"),
                danger: true,
              });
              if (yes) remove.mutate(row);
            },
          },
        ]}
      />
      <Executions policy={policy} />
      {editing && (
        <PolicyForm policy={editing} onClose={() => setEditing(null)} onDone={() => list.refetch()} />
      )}
    </Page>
  );
}

function Executions({ policy }: { policy?: ReplicationPolicy }) {
  const { t, word } = useI18n();
  const list = useList<ReplicationExecution>(
    "/replication/executions",
    { query: { policy_id: policy?.id }, sort: "-start_time" },
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
      <Title order={2} size="h4" mb="sm">
        {policy ? t("Runs of {name}", { name: policy.name }) : t("Runs of every rule")}
      </Title>
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

function PolicyForm(props: { policy: Partial<ReplicationPolicy>; onClose: () => void; onDone: () => void }) {
  const { t } = useI18n();
  const { policy } = props;
  const registries = useGet<Registry[]>("/registries", { query: { page_size: 100 } });
  const filter = (type: string) => {
    const found = policy.filters?.find((item) => item.type === type);
    return found ? (Array.isArray(found.value) ? found.value.join(",") : found.value) : "";
  };
  const pulls = !!policy.src_registry?.id;
  const fields: Field[] = [
    { name: "name", label: t("Name"), required: true },
    { name: "description", label: t("Description") },
    {
      name: "mode",
      label: t("Mode"),
      type: "select",
      disabled: !!policy.id,
      options: [
        { value: "push", label: t("Push: from here to the other registry") },
        { value: "pull", label: t("Pull: from the other registry to here") },
      ],
    },
    {
      name: "registry",
      label: t("The other registry"),
      type: "select",
      required: true,
      options: [
        { value: "", label: "" },
        ...(registries.data ?? []).map((item) => ({
          value: String(item.id),
          label: `${item.name} (${item.url})`,
        })),
      ],
    },
    { name: "filter_name", label: t("Name filter"), placeholder: "library/**" },
    { name: "filter_tag", label: t("Tag filter"), placeholder: "v*" },
    { name: "filter_label", label: t("Labels, separated by commas") },
    {
      name: "filter_resource",
      label: t("Kind"),
      type: "select",
      options: [
        { value: "", label: t("everything") },
        { value: "image", label: t("Images") },
        { value: "artifact", label: t("Other artifacts") },
      ],
    },
    { name: "namespace", label: t("Destination namespace"), help: t("Empty: the same as at the source.") },
    {
      name: "replace",
      label: t("Flattening"),
      type: "select",
      options: [
        { value: "-1", label: t("Flatten all levels") },
        { value: "0", label: t("No flattening") },
        { value: "1", label: t("Flatten 1 level") },
        { value: "2", label: t("Flatten 2 levels") },
        { value: "3", label: t("Flatten 3 levels") },
      ],
    },
    {
      name: "trigger",
      label: t("Trigger"),
      type: "select",
      options: [
        { value: "manual", label: t("By hand") },
        { value: "scheduled", label: t("On a schedule") },
        { value: "event_based", label: t("At every push") },
      ],
    },
    {
      name: "cron",
      label: t("Cron"),
      required: true,
      placeholder: "0 30 2 * * *",
      help: t("Six fields, seconds first; UTC"),
      hidden: (values) => values.trigger !== "scheduled",
      check: (value: string) => !isCron(value) && t("Six fields are needed"),
    },
    {
      name: "deletion",
      label: t("Delete there what is deleted here"),
      type: "check",
      hidden: (values) => values.trigger !== "event_based",
    },
    { name: "speed", label: t("Bandwidth (Kbps)"), type: "number", min: -1, help: t("-1 means no limit") },
    { name: "override", label: t("Replace tags that exist at the destination"), type: "check" },
    { name: "chunk", label: t("Copy blobs in chunks"), type: "check" },
    { name: "single", label: t("One run at a time"), type: "check" },
  ];
  return (
    <FormModal
      key={policy.id ?? "new"}
      opened
      onClose={props.onClose}
      title={policy.id ? t("Edit rule") : t("New rule")}
      submit={t("Save")}
      size="lg"
      fields={fields}
      initial={{
        name: policy.name,
        description: policy.description,
        mode: pulls ? "pull" : "push",
        registry: String((pulls ? policy.src_registry?.id : policy.dest_registry?.id) || ""),
        filter_name: filter("name"),
        filter_tag: filter("tag"),
        filter_label: filter("label"),
        filter_resource: filter("resource"),
        namespace: policy.dest_namespace,
        replace: String(policy.dest_namespace_replace_count ?? 1),
        trigger: policy.trigger?.type ?? "manual",
        cron: policy.trigger?.trigger_settings?.cron,
        deletion: policy.replicate_deletion ?? policy.deletion,
        speed: policy.speed ?? -1,
        override: policy.override ?? true,
        chunk: policy.copy_by_chunk,
        single: policy.single_active_replication,
      }}
      onSubmit={async (values) => {
        const filters: ReplicationFilter[] = [];
        if (values.filter_name) filters.push({ type: "name", value: values.filter_name });
        if (values.filter_tag) filters.push({ type: "tag", value: values.filter_tag, decoration: "matches" });
        if (values.filter_label) {
          const labels = values.filter_label.split(",").map((word: string) => word.trim());
          filters.push({ type: "label", value: labels, decoration: "matches" });
        }
        if (values.filter_resource) filters.push({ type: "resource", value: values.filter_resource });
        const other = { id: Number(values.registry) };
        const body = {
          ...policy,
          name: values.name,
          description: values.description,
          src_registry: values.mode === "pull" ? other : { id: 0 },
          dest_registry: values.mode === "push" ? other : { id: 0 },
          dest_namespace: values.namespace ?? "",
          dest_namespace_replace_count: Number(values.replace),
          trigger: {
            type: values.trigger,
            trigger_settings: { cron: values.trigger === "scheduled" ? values.cron.trim() : "" },
          },
          filters,
          replicate_deletion: values.trigger === "event_based" && !!values.deletion,
          speed: values.speed ?? -1,
          override: !!values.override,
          copy_by_chunk: !!values.chunk,
          single_active_replication: !!values.single,
          enabled: policy.enabled ?? true,
        };
        if (policy.id) await api.put("/replication/policies/{id}", { path: { id: policy.id }, body });
        else await api.create("/replication/policies", { body });
        props.onDone();
      }}
      note={
        <Group gap="xs">
          <Text size="sm" c="dimmed">
            {t("Patterns: * is any text without a slash, ** any text, {a,b} one of several.")}
          </Text>
        </Group>
      }
    />
  );
}
