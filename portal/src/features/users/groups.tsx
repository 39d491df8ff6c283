import { useState } from "react";
import { api } from "../../api/client";
import type { UserGroup } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Page } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";

const ONE = "/usergroups/{group_id}";
const KINDS: Record<number, string> = { 1: "LDAP", 2: "HTTP", 3: "OIDC" };

export function Groups() {
  const { t } = useI18n();
  const [name, setName] = useFilter("name");
  const [editing, setEditing] = useState<Partial<UserGroup> | null>(null);
  const list = useList<UserGroup>("/usergroups", { query: { group_name: name }, address: "" });
  const path = (row: Partial<UserGroup>) => ({ group_id: row.id });
  return (
    <Page title={t("Groups")} description={t("Groups of LDAP or OIDC that can be members of projects.")}>
      <ResourceTable<UserGroup>
        label={t("Groups")}
        list={list}
        rowKey={(row) => row.id}
        name={(row) => row.group_name}
        search={{ value: name, onChange: setName }}
        create={{ label: t("New group"), run: () => setEditing({ group_type: 1 }) }}
        selectable
        empty={<Empty title={name ? t("No group matches") : t("No groups yet")} />}
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.group_name}</b> },
          { title: t("Kind"), cell: (row) => KINDS[row.group_type] ?? row.group_type },
          { title: t("LDAP group DN"), cell: (row) => row.ldap_group_dn || "–" },
        ]}
        actions={[{ label: t("Edit"), run: setEditing }]}
        remove={{
          run: (row) => api.delete(ONE, { path: path(row) }),
          consequence: t("Its members lose what the group gave them."),
        }}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit group") : t("New group")}
          submit={t("Save")}
          initial={editing}
          load={editing.id ? () => api.get(ONE, { path: path(editing) }) : undefined}
          fields={[
            {
              name: "group_type",
              label: t("Kind"),
              type: "select",
              disabled: !!editing.id,
              get: (group) => String(group.group_type),
              put: (group, value: string) => ({ ...group, group_type: Number(value) }),
              options: Object.entries(KINDS).map(([value, label]) => ({ value, label })),
            },
            { name: "group_name", label: t("Name"), required: true },
            {
              name: "ldap_group_dn",
              label: t("LDAP group DN"),
              required: true,
              disabled: !!editing.id,
              hidden: (group) => group.group_type !== 1,
            },
          ]}
          onSubmit={(body) =>
            editing.id ? api.put(ONE, { path: path(editing), body }) : api.create("/usergroups", { body })
          }
        />
      )}
    </Page>
  );
}
