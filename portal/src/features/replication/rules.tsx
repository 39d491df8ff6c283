// Replication rules, their runs with live progress, and the tasks and logs of a run.

import { Badge, Button, Text } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { ReplicationPolicy } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page } from "../../components/ui";
import { like, q } from "../../format";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { Executions } from "./executions";
import { PolicyForm } from "./form";

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
