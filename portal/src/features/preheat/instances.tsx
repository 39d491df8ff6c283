// Distribution instances: the peer-to-peer networks (Dragonfly, Kraken) that images can be preheated in.
import { Badge, Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { api } from "../../api/client";
import type { PreheatInstance, PreheatProvider } from "../../api/types";
import { changes, type Field, FormModal, negated, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { DateTime, Empty, Enabled, Page } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";

const LIST = "/p2p/preheat/instances";
const ONE = "/p2p/preheat/instances/{preheat_instance_name}";

export function Distribution() {
  const { t } = useI18n();
  const [name, setName] = useFilter("name");
  const [editing, setEditing] = useState<Partial<PreheatInstance> | null>(null);
  const list = useList<PreheatInstance>(LIST, { query: { q: q({ name: like(name) }) }, address: "" });
  const providers = useGet<PreheatProvider[]>("/p2p/preheat/providers");
  const path = (row: Partial<PreheatInstance>) => ({ preheat_instance_name: row.name });
  const change = useAction(
    ({ row, part }: { row: PreheatInstance; part: Partial<PreheatInstance> }) =>
      api.put(ONE, { path: path(row), body: part }),
    "Saved",
    ({ row }) => t("Could not change {name}", { name: row.name ?? "" }),
  );
  const ping = useAction(
    async (body: Values) => {
      await api.post("/p2p/preheat/instances/ping", { body });
      notifications.show({ message: t("The connection works."), color: "teal" });
    },
    undefined,
    "The connection failed",
  );
  const secret = (key: string): Pick<Field, "get" | "put"> => ({
    get: (value) => value.auth_info?.[key],
    put: (value, text: string) => ({ ...value, auth_info: { ...value.auth_info, [key]: text } }),
  });
  const stays = editing?.id ? t("Empty: the stored one stays.") : undefined;
  return (
    <Page
      title={t("Distributions")}
      description={t("Peer-to-peer networks that fetch images before they are needed.")}
    >
      <ResourceTable<PreheatInstance>
        label={t("Instances")}
        list={list}
        rowKey={(row) => row.id ?? 0}
        name={(row) => row.name ?? ""}
        search={{ value: name, onChange: setName }}
        create={{
          label: t("New instance"),
          run: () =>
            setEditing({
              vendor: providers.data?.[0]?.id,
              auth_mode: "NONE",
              enabled: true,
              insecure: false,
            }),
        }}
        selectable
        empty={
          <Empty title={name ? t("No instance matches") : t("No instances yet")}>
            {t("Add a Dragonfly or Kraken network; projects then choose in their policies what it fetches.")}
          </Empty>
        }
        columns={[
          {
            title: t("Name"),
            sort: "name",
            cell: (row) => (
              <Group gap={6}>
                <b>{row.name}</b>
                {row.default && (
                  <Badge variant="light" tt="none">
                    {t("Default")}
                  </Badge>
                )}
              </Group>
            ),
          },
          { title: t("Provider"), cell: (row) => row.vendor },
          { title: t("Address"), cell: (row) => <span className="wrap">{row.endpoint}</span> },
          { title: t("State"), cell: (row) => <Enabled value={row.enabled} /> },
          {
            title: t("Created"),
            cell: (row) => <DateTime value={row.setup_timestamp ? row.setup_timestamp * 1000 : null} />,
          },
        ]}
        actions={[
          {
            label: t("Make default"),
            hidden: (row) => !!row.default,
            run: (row) => change.mutate({ row, part: { default: true } }),
          },
          { label: t("Test connection"), run: (row) => ping.mutate({ id: row.id }) },
          { label: t("Edit"), run: setEditing },
          {
            label: (row) => (row.enabled ? t("Disable") : t("Enable")),
            run: (row) => change.mutate({ row, part: { enabled: !row.enabled } }),
          },
        ]}
        remove={{
          run: (row) => api.delete(ONE, { path: path(row) }),
          consequence: t("Policies that use it must be deleted first."),
        }}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit instance") : t("New instance")}
          submit={t("Save")}
          initial={editing}
          load={editing.id ? () => api.get(ONE, { path: path(editing) }) : undefined}
          fields={[
            {
              name: "vendor",
              label: t("Provider"),
              type: "select",
              disabled: !!editing.id,
              options: (providers.data ?? []).map((item) => ({ value: item.id, label: item.name })),
            },
            { name: "name", label: t("Name"), required: true, disabled: !!editing.id },
            { name: "description", label: t("Description") },
            {
              name: "endpoint",
              label: t("Address"),
              required: true,
              placeholder: "https://dragonfly.example.com",
              check: (value: string) => !/^https?:\/\/\S+$/.test(value) && t("Not an http or https address"),
            },
            {
              name: "auth_mode",
              label: t("Authorization"),
              type: "select",
              options: [
                { value: "NONE", label: t("None") },
                { value: "BASIC", label: "Basic" },
                { value: "OAUTH", label: "OAuth" },
              ],
            },
            {
              name: "username",
              label: t("User name"),
              help: stays,
              hidden: (value) => value.auth_mode !== "BASIC",
              ...secret("username"),
            },
            {
              name: "password",
              label: t("Password"),
              type: "password",
              help: stays,
              hidden: (value) => value.auth_mode !== "BASIC",
              ...secret("password"),
            },
            {
              name: "token",
              label: t("Token"),
              type: "password",
              help: stays,
              hidden: (value) => value.auth_mode !== "OAUTH",
              ...secret("token"),
            },
            { name: "verify", label: t("Verify the certificate"), type: "check", ...negated("insecure") },
            { name: "enabled", label: t("Enabled"), type: "switch" },
            { name: "default", label: t("Default"), type: "switch" },
          ]}
          extra={(values) => (
            <Button
              variant="default"
              loading={ping.isPending}
              onClick={() => ping.mutate(editing.id && !values.auth_info ? { id: editing.id } : values)}
            >
              {t("Test connection")}
            </Button>
          )}
          onSubmit={(values, stored) =>
            editing.id
              ? api.put(ONE, { path: path(editing), body: changes(stored, values) })
              : api.create(LIST, { body: values })
          }
        />
      )}
    </Page>
  );
}
