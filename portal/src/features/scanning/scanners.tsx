import { Badge, Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Scanner } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal, type Values } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Status } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";

export function Scanners() {
  const { t } = useI18n();
  const confirm = useConfirm();
  const list = useList<Scanner>("/scanners");
  const [editing, setEditing] = useState<Partial<Scanner> | null>(null);
  const path = (row: Scanner) => ({ registration_id: row.uuid });
  const standard = useAction(
    (row: Scanner) =>
      api.patch("/scanners/{registration_id}", { path: path(row), body: { is_default: true } }),
    "Saved",
  );
  const put = useAction(
    (row: Scanner) => api.put("/scanners/{registration_id}", { path: path(row), body: row }),
    "Saved",
  );
  const remove = useAction(
    (row: Scanner) => api.delete("/scanners/{registration_id}", { path: path(row) }),
    "Deleted",
  );
  const shape = (values: Values) => ({
    name: values.name,
    description: values.description,
    url: values.url,
    auth: values.auth,
    access_credential: values.access_credential,
    skip_certVerify: !values.verify,
    use_internal_addr: !!values.use_internal_addr,
  });
  const ping = useAction(async (values: Values) => {
    await api.post("/scanners/ping", { body: shape(values) });
    notifications.show({ message: t("The scanner answers."), color: "teal" });
  });
  return (
    <>
      <Toolbar refresh={list.refetch}>
        <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({})}>
          {t("New scanner")}
        </Button>
      </Toolbar>
      <div className="spaced">
        <DataTable
          label={t("Scanners")}
          list={list}
          rowKey={(row) => row.uuid}
          empty={<Empty title={t("No scanner")}>{t("Add one that speaks the Pluggable Scanner API.")}</Empty>}
          columns={[
            {
              title: t("Name"),
              cell: (row) => (
                <Group gap={6}>
                  <b>{row.name}</b>
                  {row.is_default && (
                    <Badge variant="light" tt="none">
                      {t("Default")}
                    </Badge>
                  )}
                </Group>
              ),
            },
            { title: t("Address"), cell: (row) => row.url || "–" },
            { title: t("Health"), cell: (row) => (row.health ? <Status value={row.health} /> : "–") },
            {
              title: t("State"),
              cell: (row) => (
                <Badge color={row.disabled ? "gray" : "teal"} variant="light" tt="none">
                  {row.disabled ? t("Disabled") : t("Enabled")}
                </Badge>
              ),
            },
            {
              title: t("Adapter"),
              cell: (row) => [row.adapter, row.version].filter(Boolean).join(" ") || "–",
            },
          ]}
          actions={[
            {
              label: t("Make default"),
              hidden: (row) => !!row.is_default,
              run: (row) => standard.mutate(row),
            },
            { label: t("Edit"), run: setEditing },
            { label: t("Enable or disable"), run: (row) => put.mutate({ ...row, disabled: !row.disabled }) },
            {
              label: t("Delete"),
              danger: true,
              run: async (row) => {
                const yes = await confirm({
                  title: t("Delete {name}?", { name: row.name }),
                  body: t("Its reports so far stay."),
                  confirm: t("Delete"),
                  danger: true,
                });
                if (yes) remove.mutate(row);
              },
            },
          ]}
        />
      </div>
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.uuid ? t("Edit scanner") : t("New scanner")}
          submit={t("Save")}
          initial={{ ...editing, auth: editing.auth ?? "", verify: !editing.skip_certVerify }}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "description", label: t("Description") },
            { name: "url", label: t("Address"), required: true, placeholder: "http://scanner:8080" },
            {
              name: "auth",
              label: t("Authorization"),
              type: "select",
              options: [
                { value: "", label: t("None") },
                { value: "Basic", label: "Basic" },
                { value: "Bearer", label: "Bearer" },
                { value: "X-ScannerAdapter-API-Key", label: "API key" },
              ],
            },
            {
              name: "access_credential",
              label: t("Credential"),
              type: "password",
              hidden: (values) => !values.auth,
            },
            { name: "verify", label: t("Verify the certificate"), type: "check" },
            {
              name: "use_internal_addr",
              label: t("Give it the internal address of this registry"),
              type: "check",
            },
          ]}
          extra={(values) => (
            <Button variant="default" loading={ping.isPending} onClick={() => ping.mutate(values)}>
              {t("Test connection")}
            </Button>
          )}
          onSubmit={async (values) => {
            if (editing.uuid) {
              await api.put("/scanners/{registration_id}", {
                path: { registration_id: editing.uuid },
                body: { ...editing, ...shape(values) },
              });
            } else await api.create("/scanners", { body: shape(values) });
            list.refetch();
          }}
        />
      )}
    </>
  );
}
