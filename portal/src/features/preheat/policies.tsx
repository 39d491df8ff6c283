// What a project preheats, where, and when; and the executions of each policy.
import { Button, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { PreheatExecution, PreheatPolicy, PreheatTask, ProviderUnderProject } from "../../api/types";
import { changes, type Field, FormModal, LogModal, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { isCron } from "../../components/schedule";
import { DataTable } from "../../components/table";
import { Empty, Enabled, finished, Status, Time, untilFinished } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { duration, like, q } from "../../lib/format";
import { logged } from "../../lib/operations";
import type { ProjectTab } from "../projects/tab";

const LIST = "/projects/{project_name}/preheat/policies";
const ONE = `${LIST}/{preheat_policy_name}` as const;
const EXECUTION = `${ONE}/executions/{execution_id}` as const;

// Filters, trigger and scope are JSON text in the API, as Harbor has them.
function parsed<T>(text: unknown, otherwise: T): T {
  try {
    return typeof text === "string" && text ? (JSON.parse(text) as T) : otherwise;
  } catch {
    return otherwise;
  }
}
type Filter = { type: string; value: unknown };
const filters = (policy: Values) => parsed<Filter[]>(policy.filters, []);
const trigger = (policy: Values) =>
  parsed<{ type?: string; trigger_setting?: { cron?: string } }>(policy.trigger, {});

function filter(type: string): Pick<Field, "get" | "put"> {
  return {
    get: (policy) => filters(policy).find((item) => item.type === type)?.value,
    put: (policy, value: unknown) => {
      const old = filters(policy);
      const next = old.some((item) => item.type === type)
        ? old.map((item) => (item.type === type ? { ...item, value } : item))
        : [...old, { type, value }];
      return { ...policy, filters: JSON.stringify(next.filter((item) => item.value !== "")) };
    },
  };
}

export function Preheat({ project, can }: ProjectTab) {
  const { t, word } = useI18n();
  const path = { project_name: project.name };
  const [name, setName] = useFilter("name");
  const [editing, setEditing] = useState<Partial<PreheatPolicy> | null>(null);
  const list = useList<PreheatPolicy>(LIST, { path, query: { q: q({ name: like(name) }) }, address: "" });
  const providers = useGet<ProviderUnderProject[]>("/projects/{project_name}/preheat/providers", { path });
  const one = (policy: Partial<PreheatPolicy>) => ({ ...path, preheat_policy_name: policy.name });
  const may = (action: string) => can("preheat-policy", action);
  const start = useAction(
    (row: PreheatPolicy) =>
      logged(
        "Preheat",
        row.name ?? "",
        () => api.create(ONE, { path: one(row), body: {} }),
        (id) => ({ template: EXECUTION, options: { path: { ...one(row), execution_id: id } } }),
      ),
    "Started",
    (row) => t("Could not start {name}", { name: row.name ?? "" }),
  );
  const toggle = useAction(
    (row: PreheatPolicy) => api.put(ONE, { path: one(row), body: { enabled: !row.enabled } }),
    "Saved",
  );
  return (
    <>
      <ResourceTable<PreheatPolicy>
        label={t("Preheat policies")}
        list={list}
        rowKey={(row) => row.id ?? 0}
        name={(row) => row.name ?? ""}
        search={{ value: name, onChange: setName }}
        create={
          may("create") && {
            label: t("New policy"),
            run: () =>
              setEditing({
                enabled: true,
                provider_id: providers.data?.find((item) => item.default)?.id ?? providers.data?.[0]?.id,
                filters: JSON.stringify([
                  { type: "repository", value: "**" },
                  { type: "tag", value: "**" },
                ]),
                trigger: JSON.stringify({ type: "manual", trigger_setting: {} }),
              }),
          }
        }
        empty={
          <Empty title={name ? t("No policy matches") : t("No preheat policies yet")}>
            {providers.data && !providers.data.length
              ? t("An administrator first adds an instance under Distributions.")
              : t("A policy sends images to a peer-to-peer network before they are needed.")}
          </Empty>
        }
        expand={(row) => <Executions path={one(row)} />}
        columns={[
          { title: t("Name"), sort: "name", cell: (row) => <b>{row.name}</b> },
          { title: t("State"), cell: (row) => <Enabled value={row.enabled} /> },
          { title: t("Instance"), cell: (row) => row.provider_name || "–" },
          {
            title: t("Filters"),
            cell: (row) => (
              <Text size="xs" className="wrap">
                {filters(row)
                  .map((item) => `${word(item.type)}: ${String(item.value)}`)
                  .join(", ") || t("everything")}
              </Text>
            ),
          },
          { title: t("Trigger"), cell: (row) => word(trigger(row).type ?? "manual") },
          { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          {
            label: t("Preheat now"),
            hidden: () => !may("read"),
            disabled: (row) => !row.enabled,
            run: (row) => start.mutate(row),
          },
          { label: t("Edit"), hidden: () => !may("update"), run: setEditing },
          {
            label: (row) => (row.enabled ? t("Disable") : t("Enable")),
            hidden: () => !may("update"),
            run: (row) => toggle.mutate(row),
          },
        ]}
        remove={
          may("delete") && {
            run: (row) => api.delete(ONE, { path: one(row) }),
            consequence: t("Its executions are forgotten; what was preheated stays in the network."),
          }
        }
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit policy") : t("New policy")}
          submit={t("Save")}
          size="lg"
          initial={editing}
          load={editing.id ? () => api.get(ONE, { path: one(editing) }) : undefined}
          fields={[
            { name: "name", label: t("Name"), required: true, disabled: !!editing.id },
            { name: "description", label: t("Description") },
            {
              name: "provider_id",
              label: t("Instance"),
              type: "select",
              required: true,
              options: (providers.data ?? []).map((item) => ({
                value: String(item.id),
                label: item.provider,
              })),
              get: (policy) => String(policy.provider_id ?? ""),
              put: (policy, value: string) => ({ ...policy, provider_id: Number(value) }),
            },
            { name: "repository", label: t("Repositories"), required: true, ...filter("repository") },
            { name: "tag", label: t("Tags"), required: true, ...filter("tag") },
            { name: "label", label: t("Labels, separated by commas"), ...filter("label") },
            {
              name: "trigger",
              label: t("Trigger"),
              type: "select",
              options: [
                { value: "manual", label: t("By hand") },
                { value: "scheduled", label: t("On a schedule") },
                { value: "event_based", label: t("At every push") },
              ],
              get: (policy) => trigger(policy).type ?? "manual",
              put: (policy, type: string) => ({
                ...policy,
                trigger: JSON.stringify({
                  type,
                  trigger_setting: type === "scheduled" ? { cron: "0 0 0 * * *" } : {},
                }),
              }),
            },
            {
              name: "cron",
              label: t("Cron"),
              required: true,
              help: t("Six fields, seconds first; UTC"),
              hidden: (policy) => trigger(policy).type !== "scheduled",
              get: (policy) => trigger(policy).trigger_setting?.cron,
              put: (policy, cron: string) => ({
                ...policy,
                trigger: JSON.stringify({ ...trigger(policy), trigger_setting: { cron } }),
              }),
              check: (value: string) => !isCron(value) && t("Six fields are needed"),
            },
          ]}
          onSubmit={(values, stored) =>
            editing.id
              ? api.put(ONE, { path: one(editing), body: changes(stored, values) })
              : api.create(LIST, { path, body: values })
          }
        />
      )}
    </>
  );
}

function Executions({ path }: { path: Record<string, string | undefined> }) {
  const { t, word } = useI18n();
  const list = useList<PreheatExecution>(
    `${ONE}/executions`,
    { path },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.status)) ? 2000 : false,
    },
  );
  const stop = useAction(
    (row: PreheatExecution) =>
      api.patch(EXECUTION, { path: { ...path, execution_id: row.id }, body: { status: "Stopped" } }),
    "Stopped",
  );
  return (
    <DataTable
      label={t("Execution history")}
      list={list}
      rowKey={(row) => row.id ?? 0}
      empty={<Empty title={t("No runs yet")} />}
      expand={(row) => <Tasks path={{ ...path, execution_id: row.id }} execution={row} />}
      columns={[
        { title: t("Run"), cell: (row) => row.id },
        { title: t("Status"), cell: (row) => <Status value={row.status} title={row.status_message} /> },
        { title: t("Trigger"), cell: (row) => word((row.trigger ?? "").toLowerCase()) },
        {
          title: t("Tasks"),
          cell: (row) =>
            t("{done} of {total}", {
              done: row.metrics?.success_task_count ?? 0,
              total: row.metrics?.task_count ?? 0,
            }),
        },
        { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
        { title: t("Took"), cell: (row) => duration(row.start_time, row.end_time) },
      ]}
      actions={[{ label: t("Stop"), hidden: (row) => finished(row.status), run: (row) => stop.mutate(row) }]}
    />
  );
}

function Tasks(props: { path: Record<string, string | number | undefined>; execution: PreheatExecution }) {
  const { t } = useI18n();
  const [log, setLog] = useState<PreheatTask | null>(null);
  const list = useList<PreheatTask>(
    `${EXECUTION}/tasks`,
    { path: props.path },
    { refetchInterval: untilFinished(props.execution) },
  );
  return (
    <>
      <DataTable
        label={t("Tasks")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No artifact matches")} />}
        columns={[
          { title: t("Artifact"), cell: (row) => String(row.extra_attrs?.artifact ?? row.id) },
          { title: t("Status"), cell: (row) => <Status value={row.status} title={row.status_message} /> },
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
            template: `${EXECUTION}/tasks/{task_id}/logs`,
            options: { path: { ...props.path, task_id: log.id } },
          }
        }
        live={!!log && !finished(log.status)}
        onClose={() => setLog(null)}
      />
    </>
  );
}
