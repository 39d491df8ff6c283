import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { api } from "../../api/client";
import type { Registry } from "../../api/types";
import { changes, type Field, FormModal, negated, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Page, Status, Time, YesNo } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";

type Adapters = Record<
  string,
  { endpoint_pattern?: { endpoint_type?: string; endpoints?: { key: string; value: string }[] | null } }
>;

export function Registries() {
  const { t } = useI18n();
  const [name, setName] = useFilter("name");
  const [editing, setEditing] = useState<Partial<Registry> | null>(null);
  const adapters = useGet<string[]>("/replication/adapters");
  const details = useGet<Adapters>("/replication/adapterinfos");
  const list = useList<Registry>("/registries", { query: { q: q({ name: like(name) }) }, address: "" });
  const ping = useAction(
    async (values: Values) => {
      const {
        name,
        description,
        type,
        url,
        insecure,
        ca_certificate,
        internal_networks,
        credential = {},
      } = values;
      const given = credential.access_key || credential.access_secret;
      // A stored secret is never sent back to us, so an unchanged one is tested by the registry's id.
      await api.post("/registries/ping", {
        body: {
          ...(editing?.id ? { id: editing.id } : {}),
          ...{ name, description, type, url, insecure: !!insecure },
          ca_certificate: ca_certificate || undefined,
          internal_networks: internal_networks || undefined,
          ...(given
            ? {
                credential_type: "basic",
                access_key: credential.access_key,
                ...(credential.access_secret ? { access_secret: credential.access_secret } : {}),
              }
            : {}),
        },
      });
      notifications.show({ message: t("The registry answers."), color: "teal" });
    },
    undefined,
    "The connection failed",
  );
  const credential = (key: string): Pick<Field, "get" | "put"> => ({
    get: (registry) => registry.credential?.[key],
    put: (registry, value: string) => ({
      ...registry,
      credential: { ...registry.credential, [key]: value },
    }),
  });
  const fields: Field[] = [
    {
      name: "type",
      label: t("Provider"),
      type: "select",
      disabled: !!editing?.id,
      options: (adapters.data ?? []).map((value) => ({ value, label: value })),
    },
    { name: "name", label: t("Name"), required: true },
    { name: "description", label: t("Description") },
    {
      name: "url",
      label: t("Address"),
      required: true,
      placeholder: "https://registry.example.com",
      check: (value: string) => !/^https?:\/\/\S+$/.test(value) && t("Not an http or https address"),
    },
    {
      name: "access_key",
      label: t("Access ID"),
      help: t("A user name, robot account or key."),
      ...credential("access_key"),
    },
    {
      name: "access_secret",
      label: t("Access secret"),
      type: "password",
      help: editing?.id ? t("Empty: the stored one stays.") : undefined,
      // The API shows stars in place of a stored secret.
      get: (registry) =>
        /^\*+$/.test(registry.credential?.access_secret ?? "") ? "" : registry.credential?.access_secret,
      put: credential("access_secret").put,
    },
    { name: "verify", label: t("Verify the certificate"), type: "check", ...negated("insecure") },
    { name: "ca_certificate", label: t("CA certificate (PEM)"), type: "textarea" },
    {
      name: "token_server",
      label: t("Token server"),
      disabled: true,
      // The registry named it when it was saved with its secret; there is nothing to choose.
      hidden: (registry) => !registry.token_server,
      help: t("The only other place that its credentials are sent to."),
    },
    {
      name: "internal_networks",
      label: t("Networks inside"),
      type: "tags",
      placeholder: "10.20.0.0/16",
      help: t("Networks that the registry may redirect to, such as that of its blob store."),
      get: (registry) => registry.internal_networks ?? [],
    },
  ];
  // An update takes the fields that change, the parts of the credential by names of their own.
  const update = (stored: Values, values: Values) => {
    const { credential: after = {}, ...body } = changes(stored, values);
    const before = stored.credential ?? {};
    if (after.access_key !== undefined && after.access_key !== before.access_key) {
      body.credential_type = "basic";
      body.access_key = after.access_key;
    }
    if (after.access_secret && after.access_secret !== before.access_secret) {
      body.credential_type = "basic";
      body.access_key = after.access_key ?? before.access_key;
      body.access_secret = after.access_secret;
    }
    return body;
  };
  return (
    <Page
      title={t("Registries")}
      description={t("Other registries: for replication, and for proxy-cache projects.")}
    >
      <ResourceTable<Registry>
        label={t("Registries")}
        list={list}
        rowKey={(row) => row.id}
        name={(row) => row.name}
        search={{ value: name, onChange: setName }}
        create={{ label: t("New registry"), run: () => setEditing({}) }}
        selectable
        empty={
          <Empty title={name ? t("No registry matches") : t("No registries yet")}>
            {t("Add the registry you want to copy to or from.")}
          </Empty>
        }
        columns={[
          { title: t("Name"), sort: "name", cell: (row) => <b>{row.name}</b> },
          { title: t("Status"), cell: (row) => <Status value={row.status} /> },
          { title: t("Provider"), cell: (row) => row.type },
          { title: t("Address"), cell: (row) => <span className="wrap">{row.url}</span> },
          { title: t("Credentials"), cell: (row) => row.credential?.access_key || "–" },
          { title: t("Verify the certificate"), cell: (row) => <YesNo value={!row.insecure} /> },
          { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[{ label: t("Edit"), run: setEditing }]}
        remove={{
          run: (row) => api.delete("/registries/{id}", { path: { id: row.id } }),
          consequence: t("Replication rules that use it must be deleted first."),
        }}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit registry") : t("New registry")}
          submit={t("Save")}
          size="lg"
          fields={fields}
          initial={{
            type: adapters.data?.includes("harbor") ? "harbor" : adapters.data?.[0],
            url: details.data?.[""]?.endpoint_pattern?.endpoints?.[0]?.value ?? "",
            insecure: false,
          }}
          load={editing.id ? () => api.get("/registries/{id}", { path: { id: editing.id } }) : undefined}
          extra={(values) => (
            <Button variant="default" loading={ping.isPending} onClick={() => ping.mutate(values)}>
              {t("Test connection")}
            </Button>
          )}
          onSubmit={async (values, stored) => {
            if (editing.id) {
              await api.put("/registries/{id}", { path: { id: editing.id }, body: update(stored, values) });
              return;
            }
            const given = values.credential?.access_key;
            await api.create("/registries", {
              body: {
                ...values,
                credential: given ? { type: "basic", access_secret: "", ...values.credential } : undefined,
              },
            });
          }}
        />
      )}
    </Page>
  );
}
