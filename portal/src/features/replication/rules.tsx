// Replication rules, their runs with live progress, and the tasks and logs of a run.

import { Button, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { ReplicationPolicy } from "../../api/types";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Enabled, Page } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import { logged } from "../../lib/operations";
import { Executions } from "./executions";
import { PolicyForm } from "./form";

export function Replications() {
  const { t, word } = useI18n();
  const [name, setName] = useFilter("name");
  const [chosen, choose] = useFilter("rule", { push: true });
  const [editing, setEditing] = useState<Partial<ReplicationPolicy> | null>(null);
  const list = useList<ReplicationPolicy>("/replication/policies", {
    query: { q: q({ name: like(name) }) },
    address: "",
  });
  const one = useGet<ReplicationPolicy>(
    "/replication/policies/{id}",
    { path: { id: chosen } },
    { enabled: !!chosen },
  );
  const policy = chosen ? one.data : undefined;
  const start = useAction(
    (row: ReplicationPolicy) =>
      logged(
        "Replicate",
        row.name ?? "",
        () => api.create("/replication/executions", { body: { policy_id: row.id } }),
        (id) => ({ template: "/replication/executions/{id}", options: { path: { id } } }),
      ),
    "Replication started",
    (row) => t("Could not start {name}", { name: row.name }),
  );
  const toggle = useAction(
    (row: ReplicationPolicy) =>
      api.edit<ReplicationPolicy>("/replication/policies/{id}", { id: row.id }, (stored) => ({
        ...stored,
        enabled: !row.enabled,
      })),
    "Saved",
  );
  const pulls = (row: Partial<ReplicationPolicy>) => !!row.src_registry?.id;
  return (
    <Page title={t("Replications")} description={t("Rules that copy artifacts to or from another registry.")}>
      <ResourceTable<ReplicationPolicy>
        label={t("Replication rules")}
        list={list}
        rowKey={(row) => row.id}
        name={(row) => row.name}
        search={{ value: name, onChange: setName }}
        create={{
          label: t("New rule"),
          run: () =>
            setEditing({
              enabled: true,
              override: true,
              speed: -1,
              dest_namespace: "",
              dest_namespace_replace_count: 1,
              trigger: { type: "manual", trigger_settings: { cron: "" } },
              filters: [],
            }),
        }}
        selectable
        bulk={(rows) => (
          <Button
            size="xs"
            variant="default"
            disabled={!rows.every((row) => row.enabled)}
            onClick={() => {
              for (const row of rows) start.mutate(row);
            }}
          >
            {t("Replicate now")}
          </Button>
        )}
        empty={
          <Empty title={name ? t("No rule matches") : t("No rules yet")}>
            {t("Register the other registry first, then say what to copy and when.")}
          </Empty>
        }
        columns={[
          { title: t("Name"), sort: "name", cell: (row) => <b>{row.name}</b> },
          { title: t("State"), cell: (row) => <Enabled value={row.enabled} /> },
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
                  ?.map((item) => {
                    const value = Array.isArray(item.value) ? item.value.join("|") : item.value;
                    const except = item.decoration === "excludes" ? `${t("excluding")} ` : "";
                    return `${word(item.type)}: ${except}${value}`;
                  })
                  .join(", ") || t("everything")}
              </Text>
            ),
          },
        ]}
        actions={[
          { label: t("Replicate now"), disabled: (row) => !row.enabled, run: (row) => start.mutate(row) },
          { label: t("Execution history"), run: (row) => choose(String(row.id)) },
          { label: t("Edit"), run: setEditing },
          {
            label: (row) => (row.enabled ? t("Disable") : t("Enable")),
            run: (row) => toggle.mutate(row),
          },
        ]}
        remove={{
          run: (row) => api.delete("/replication/policies/{id}", { path: { id: row.id } }),
          consequence: t("What it copied stays where it is."),
        }}
      />
      <Executions policy={policy} onAll={() => choose("")} />
      {editing && (
        <PolicyForm policy={editing} onClose={() => setEditing(null)} onDone={() => list.refetch()} />
      )}
    </Page>
  );
}
