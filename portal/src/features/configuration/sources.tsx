// Where users come from besides the source that "Authentication" names: directories and providers, in their order.

import { Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { api } from "../../api/client";
import type { IdentitySource } from "../../api/types";
import { changes, type Field, FormModal, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Enabled } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { type Translate, useI18n } from "../../i18n";
import { authentication } from "./fields";

const ONE = "/system/identity-sources/{source_name}";
const KINDS = [
  { value: "ldap", label: "LDAP" },
  { value: "oidc", label: "OIDC" },
];
// What a source has outside its configuration.
const ELSEWHERE = ["oidc_name", "oidc_admin_group", "ldap_group_admin_dn"];
/** What a new source of a kind starts with. */
const STANDARD: Record<string, Values> = {
  ldap: { uid: "uid", scope: 2, group_search_scope: 2, verify_cert: true },
  oidc: { scope: "openid,profile,email", verify_cert: true },
};

/** The fields of the one source of "Authentication", for a source with a configuration of its own. */
function configuration(t: Translate, kind: string): Field[] {
  return authentication(t)
    .filter((field) => field.name.startsWith(`${kind}_`) && !ELSEWHERE.includes(field.name))
    .map((field) => {
      const item = field.name.slice(kind.length + 1);
      return {
        ...field,
        hidden: (values: Values) => values.kind !== kind,
        get: ({ configuration: stored }: Values) => {
          const value = stored[item] ?? STANDARD[kind][item];
          return field.type === "select" ? String(value) : value;
        },
        put: (values: Values, value: unknown) => ({
          ...values,
          configuration: {
            ...values.configuration,
            [item]: field.type === "select" ? Number(value) : (value ?? ""),
          },
        }),
      };
    });
}

/** The items of the kind, without secrets that were not given: the stored ones stay. */
function given(values: Values, fields: Field[]): Values {
  const kind = values.kind as string;
  const items = { ...values.configuration };
  for (const field of fields) {
    const item = field.name.slice(kind.length + 1);
    if (field.type === "password" && !items[item]) delete items[item];
  }
  return items;
}

export function Sources() {
  const { t } = useI18n();
  const query = useGet<IdentitySource[]>("/system/identity-sources");
  const rows = query.data ?? [];
  const [editing, setEditing] = useState<IdentitySource | "new" | null>(null);
  const path = (row: IdentitySource) => ({ source_name: row.name });
  const toggle = useAction(
    (row: IdentitySource) => api.put(ONE, { path: path(row), body: { enabled: !row.enabled } }),
    "Saved",
  );
  const move = useAction(async ({ row, by }: { row: IdentitySource; by: number }) => {
    const order = [...rows];
    const at = order.indexOf(row);
    order.splice(at, 1);
    order.splice(at + by, 0, row);
    for (const [index, item] of order.entries()) {
      if (item.position !== index + 1) {
        await api.put(ONE, { path: path(item), body: { position: index + 1 } });
      }
    }
  }, "Saved");
  const ping = useAction(
    async (row: IdentitySource) => {
      await api.post("/system/identity-sources/{source_name}/ping", { path: path(row) });
      notifications.show({ message: t("The connection works."), color: "teal" });
    },
    undefined,
    "The connection failed",
  );
  return (
    <Stack>
      <Text size="sm" c="dimmed">
        {t("Directories and providers besides the one under Authentication. They are asked in this order.")}
      </Text>
      <ResourceTable<IdentitySource>
        label={t("Identity sources")}
        list={{ rows, loading: query.isPending, error: query.error, refetch: query.refetch }}
        rowKey={(row) => row.name}
        name={(row) => row.name}
        create={{ label: t("New source"), run: () => setEditing("new") }}
        empty={<Empty title={t("No further sources")} />}
        columns={[
          {
            title: t("Name"),
            cell: (row) => (
              <div>
                <b>{row.name}</b>
                {row.title !== row.name && (
                  <Text size="xs" c="dimmed">
                    {row.title}
                  </Text>
                )}
              </div>
            ),
          },
          {
            title: t("Kind"),
            cell: (row) => KINDS.find((kind) => kind.value === row.kind)?.label ?? row.kind,
          },
          {
            title: t("Address"),
            cell: (row) => (
              <span className="wrap">
                {String(row.configuration.url ?? row.configuration.endpoint ?? "–")}
              </span>
            ),
          },
          { title: t("Prefix of its user names"), cell: (row) => row.prefix || "–" },
          { title: t("Group of administrators"), cell: (row) => row.admin_group || "–" },
          { title: t("State"), cell: (row) => <Enabled value={row.enabled} /> },
        ]}
        actions={[
          { label: t("Edit"), run: setEditing },
          { label: t("Test connection"), run: (row) => ping.mutate(row) },
          {
            label: t("Move up"),
            hidden: (row) => rows[0] === row,
            run: (row) => move.mutate({ row, by: -1 }),
          },
          {
            label: t("Move down"),
            hidden: (row) => rows[rows.length - 1] === row,
            run: (row) => move.mutate({ row, by: 1 }),
          },
          {
            label: (row) => (row.enabled ? t("Disable") : t("Enable")),
            run: (row) => toggle.mutate(row),
          },
        ]}
        remove={{
          run: (row) => api.delete(ONE, { path: path(row) }),
          consequence: t(
            "Its groups go. Its users stay, signed out, until they are linked to another source.",
          ),
        }}
      />
      {editing && <SourceForm source={editing} onClose={() => setEditing(null)} />}
    </Stack>
  );
}

function SourceForm({ source, onClose }: { source: IdentitySource | "new"; onClose: () => void }) {
  const { t } = useI18n();
  const fresh = source === "new";
  const path = { source_name: fresh ? "" : source.name };
  const items: Record<string, Field[]> = Object.fromEntries(
    KINDS.map((kind) => [kind.value, configuration(t, kind.value)]),
  );
  return (
    <FormModal
      opened
      onClose={onClose}
      title={fresh ? t("New source") : t("Source {name}", { name: source.name })}
      submit={t("Save")}
      initial={{ kind: "ldap", configuration: {} }}
      load={fresh ? undefined : () => api.get(ONE, { path })}
      fields={[
        {
          name: "name",
          label: t("Name"),
          required: true,
          disabled: !fresh,
          help: t("Lower-case letters, digits and hyphens."),
        },
        { name: "kind", label: t("Kind"), type: "select", options: KINDS, disabled: !fresh },
        { name: "title", label: t("Title on the sign-in page") },
        {
          name: "prefix",
          label: t("Prefix of its user names"),
          help: fresh ? t("Empty: the source's name and a hyphen.") : undefined,
        },
        {
          name: "admin_group",
          label: t("Group of administrators"),
          help: t("Of a directory: its DN."),
        },
        ...Object.values(items).flat(),
      ]}
      onSubmit={async (values, stored) => {
        const own = given(values, items[values.kind]);
        const { name, kind, title, prefix, admin_group } = values;
        if (!fresh) {
          const body = {
            ...changes(stored, { title, prefix, admin_group }),
            configuration: changes(stored.configuration, own),
          };
          return api.put(ONE, { path, body });
        }
        const all = { ...STANDARD[kind], ...own };
        const known = items[kind].map((field) => field.name.slice(kind.length + 1));
        const mine = Object.fromEntries(Object.entries(all).filter(([item]) => known.includes(item)));
        return api.create("/system/identity-sources", {
          body: { name, kind, title, prefix: prefix || undefined, admin_group, configuration: mine },
        });
      }}
    />
  );
}
