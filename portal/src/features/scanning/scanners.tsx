import { Badge, Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { api } from "../../api/client";
import type { Scanner } from "../../api/types";
import { FormModal, negated, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Enabled, Status } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";

const ONE = "/scanners/{registration_id}";

export function Scanners() {
  const { t } = useI18n();
  const list = useList<Scanner>("/scanners", { address: "" });
  const [editing, setEditing] = useState<Partial<Scanner> | null>(null);
  const path = (row: Partial<Scanner>) => ({ registration_id: row.uuid });
  const standard = useAction(
    (row: Scanner) => api.patch(ONE, { path: path(row), body: { is_default: true } }),
    "Saved",
  );
  const toggle = useAction(
    (row: Scanner) => api.edit<Scanner>(ONE, path(row), (stored) => ({ ...stored, disabled: !row.disabled })),
    "Saved",
  );
  const ping = useAction(
    async (values: Values) => {
      const { name, url, auth, access_credential, skip_certVerify, use_internal_addr } = values;
      await api.post("/scanners/ping", {
        body: { name, url, auth, access_credential, skip_certVerify, use_internal_addr },
      });
      notifications.show({ message: t("The scanner answers."), color: "teal" });
    },
    undefined,
    "The connection failed",
  );
  return (
    <>
      <ResourceTable<Scanner>
        label={t("Scanners")}
        list={list}
        rowKey={(row) => row.uuid}
        name={(row) => row.name}
        create={{ label: t("New scanner"), run: () => setEditing({ auth: "" }) }}
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
          { title: t("Address"), cell: (row) => <span className="wrap">{row.url || "–"}</span> },
          { title: t("Health"), cell: (row) => (row.health ? <Status value={row.health} /> : "–") },
          { title: t("State"), cell: (row) => <Enabled value={!row.disabled} /> },
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
          {
            label: (row) => (row.disabled ? t("Enable") : t("Disable")),
            run: (row) => toggle.mutate(row),
          },
        ]}
        remove={{
          run: (row) => api.delete(ONE, { path: path(row) }),
          consequence: t("Its reports so far stay."),
        }}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.uuid ? t("Edit scanner") : t("New scanner")}
          submit={t("Save")}
          initial={editing}
          load={editing.uuid ? () => api.get(ONE, { path: path(editing) }) : undefined}
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
            {
              name: "verify",
              label: t("Verify the certificate"),
              type: "check",
              ...negated("skip_certVerify"),
            },
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
          onSubmit={(body) =>
            editing.uuid ? api.put(ONE, { path: path(editing), body }) : api.create("/scanners", { body })
          }
        />
      )}
    </>
  );
}
