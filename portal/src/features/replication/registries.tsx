import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Registry } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { type Field, FormModal, type Values } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page, Status, Time, YesNo } from "../../components/ui";
import { like, q } from "../../format";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";

type Adapters = Record<
  string,
  { endpoint_pattern?: { endpoint_type?: string; endpoints?: { key: string; value: string }[] | null } }
>;

export function Registries() {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [editing, setEditing] = useState<Partial<Registry> | null>(null);
  const adapters = useGet<string[]>("/replication/adapters");
  const details = useGet<Adapters>("/replication/adapterinfos");
  const list = useList<Registry>("/registries", { query: { q: q({ name: like(name) }) } });
  const remove = useAction(
    (row: Registry) => api.delete("/registries/{id}", { path: { id: row.id } }),
    "Deleted",
  );
  const shape = (values: Values) => ({
    name: values.name,
    description: values.description,
    type: values.type,
    url: values.url,
    insecure: !values.verify,
    ca_certificate: values.ca_certificate || undefined,
  });
  const ping = useAction(async (values: Values) => {
    const given = values.access_key || values.access_secret;
    // A stored secret is never sent back to us, so an unchanged one is tested by the registry's id.
    await api.post("/registries/ping", {
      body: {
        ...(editing?.id ? { id: editing.id } : {}),
        ...shape(values),
        ...(given
          ? {
              credential_type: "basic",
              access_key: values.access_key,
              ...(values.access_secret ? { access_secret: values.access_secret } : {}),
            }
          : {}),
      },
    });
    notifications.show({ message: t("The registry answers."), color: "teal" });
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
    { name: "access_key", label: t("Access ID"), help: t("A user name, robot account or key.") },
    {
      name: "access_secret",
      label: t("Access secret"),
      type: "password",
      help: editing?.id ? t("Empty: the stored one stays.") : undefined,
    },
    { name: "verify", label: t("Verify the certificate"), type: "check" },
    { name: "ca_certificate", label: t("CA certificate (PEM)"), type: "textarea" },
  ];
  return (
    <Page
      title={t("Registries")}
      description={t("Other registries: for replication, and for proxy-cache projects.")}
      actions={
        <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({})}>
          {t("New registry")}
        </Button>
      }
    >
      <Toolbar search={setName} refresh={list.refetch} />
      <DataTable
        label={t("Registries")}
        list={list}
        rowKey={(row) => row.id}
        empty={
          <Empty title={name ? t("No registry matches") : t("No registries yet")}>
            {t("Add the registry you want to copy to or from.")}
          </Empty>
        }
        columns={[
          { title: t("Name"), sort: "name", cell: (row) => <b>{row.name}</b> },
          { title: t("Status"), cell: (row) => <Status value={row.status} /> },
          { title: t("Provider"), cell: (row) => row.type },
          { title: t("Address"), cell: (row) => row.url },
          { title: t("Credentials"), cell: (row) => row.credential?.access_key || "–" },
          { title: t("Verify the certificate"), cell: (row) => <YesNo value={!row.insecure} /> },
          { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          { label: t("Edit"), run: setEditing },
          {
            label: t("Delete"),
            danger: true,
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete {name}?", { name: row.name }),
                body: t("Replication rules that use it must be deleted first."),
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
          title={editing.id ? t("Edit registry") : t("New registry")}
          submit={t("Save")}
          size="lg"
          fields={fields}
          initial={{
            type: editing.type ?? (adapters.data?.includes("harbor") ? "harbor" : adapters.data?.[0]),
            name: editing.name,
            description: editing.description,
            url:
              editing.url ??
              details.data?.[editing.type ?? ""]?.endpoint_pattern?.endpoints?.[0]?.value ??
              "",
            access_key: editing.credential?.access_key,
            verify: !editing.insecure,
            ca_certificate: editing.ca_certificate,
          }}
          extra={(values) => (
            <Button variant="default" loading={ping.isPending} onClick={() => ping.mutate(values)}>
              {t("Test connection")}
            </Button>
          )}
          onSubmit={async (values) => {
            if (editing.id) {
              const body: Record<string, unknown> = shape(values);
              if (values.access_key) {
                body.credential_type = "basic";
                body.access_key = values.access_key;
                if (values.access_secret) body.access_secret = values.access_secret;
              }
              await api.put("/registries/{id}", { path: { id: editing.id }, body });
            } else {
              const credential = values.access_key
                ? { type: "basic", access_key: values.access_key, access_secret: values.access_secret ?? "" }
                : undefined;
              await api.create("/registries", { body: { ...shape(values), credential } });
            }
            list.refetch();
          }}
        />
      )}
    </Page>
  );
}
