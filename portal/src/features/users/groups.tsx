import { Button } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { UserGroup } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";

export function Groups() {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [editing, setEditing] = useState<Partial<UserGroup> | null>(null);
  const list = useList<UserGroup>("/usergroups", { query: { group_name: name } });
  const kinds: Record<number, string> = { 1: "LDAP", 2: "HTTP", 3: "OIDC" };
  const remove = useAction(
    (row: UserGroup) => api.delete("/usergroups/{group_id}", { path: { group_id: row.id } }),
    "Deleted",
  );
  return (
    <Page
      title={t("Groups")}
      description={t("Groups of LDAP or OIDC that can be members of projects.")}
      actions={
        <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({ group_type: 1 })}>
          {t("New group")}
        </Button>
      }
    >
      <Toolbar search={setName} refresh={list.refetch} />
      <DataTable
        label={t("Groups")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={name ? t("No group matches") : t("No groups yet")} />}
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.group_name}</b> },
          { title: t("Kind"), cell: (row) => kinds[row.group_type] ?? row.group_type },
          { title: t("LDAP group DN"), cell: (row) => row.ldap_group_dn || "–" },
        ]}
        actions={[
          { label: t("Edit"), run: setEditing },
          {
            label: t("Delete"),
            danger: true,
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete {name}?", { name: row.group_name }),
                body: t("Its members lose what the group gave them."),
                confirm: t("Delete"),
                danger: true,
              });
              if (yes) remove.mutate(row);
            },
          },
        ]}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit group") : t("New group")}
          submit={t("Save")}
          initial={{ ...editing, group_type: String(editing.group_type ?? 1) }}
          fields={[
            {
              name: "group_type",
              label: t("Kind"),
              type: "select",
              disabled: !!editing.id,
              options: Object.entries(kinds).map(([value, label]) => ({ value, label })),
            },
            {
              name: "group_name",
              label: t("Name"),
              required: true,
            },
            {
              name: "ldap_group_dn",
              label: t("LDAP group DN"),
              required: true,
              disabled: !!editing.id,
              hidden: (values) => values.group_type !== "1",
            },
          ]}
          onSubmit={async (values) => {
            const body = { ...values, group_type: Number(values.group_type) };
            if (editing.id) await api.put("/usergroups/{group_id}", { path: { group_id: editing.id }, body });
            else await api.create("/usergroups", { body });
            list.refetch();
          }}
        />
      )}
    </Page>
  );
}
