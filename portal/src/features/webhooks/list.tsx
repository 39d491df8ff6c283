import { Badge, Button, Stack, Text } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { WebhookEvents, WebhookPolicy } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Time } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import type { ProjectTab } from "../projects/tab";
import { Deliveries } from "./deliveries";
import { LIST, ONE } from "./paths";

export function Webhooks({ project, can }: ProjectTab) {
  const { t, word } = useI18n();
  const confirm = useConfirm();
  const path = { project_name_or_id: project.project_id };
  const events = useGet<WebhookEvents>("/projects/{project_name_or_id}/webhook/events", { path });
  const list = useList<WebhookPolicy>(LIST, { path });
  const [editing, setEditing] = useState<Partial<WebhookPolicy> | null>(null);
  const put = useAction(
    (policy: WebhookPolicy) =>
      api.put(ONE, { path: { ...path, webhook_policy_id: policy.id }, body: policy }),
    "Saved",
  );
  const remove = useAction(
    (policy: WebhookPolicy) => api.delete(ONE, { path: { ...path, webhook_policy_id: policy.id } }),
    "Deleted",
  );
  const target = editing?.targets?.[0];
  const formats = (kind: string) =>
    events.data?.payload_formats?.find((item) => item.notify_type === kind)?.formats ?? ["Default"];
  return (
    <Stack>
      <Toolbar refresh={list.refetch}>
        {can("notification-policy", "create") && (
          <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({ enabled: true })}>
            {t("New webhook")}
          </Button>
        )}
      </Toolbar>
      <DataTable
        label={t("Webhooks")}
        list={list}
        rowKey={(row) => row.id}
        empty={
          <Empty title={t("No webhooks yet")}>
            {t("A webhook tells another system of pushes, pulls, scans and more.")}
          </Empty>
        }
        expand={(row) => <Deliveries project={project.project_id} policy={row.id} />}
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.name}</b> },
          {
            title: t("Target"),
            cell: (row) => (
              <Text size="sm">
                {row.targets?.[0]?.address} ({row.targets?.[0]?.type})
              </Text>
            ),
          },
          {
            title: t("Events"),
            cell: (row) => <Text size="sm">{row.event_types?.map(word).join(", ")}</Text>,
          },
          {
            title: t("State"),
            cell: (row) => (
              <Badge color={row.enabled ? "teal" : "gray"} variant="light" tt="none">
                {row.enabled ? t("Enabled") : t("Disabled")}
              </Badge>
            ),
          },
          { title: t("Created"), cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          { label: t("Edit"), hidden: () => !can("notification-policy", "update"), run: setEditing },
          {
            label: t("Enable or disable"),
            hidden: () => !can("notification-policy", "update"),
            run: (row) => put.mutate({ ...row, enabled: !row.enabled }),
          },
          {
            label: t("Delete"),
            danger: true,
            hidden: () => !can("notification-policy", "delete"),
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete {name}?", { name: row.name }),
                body: t("Its deliveries so far are forgotten too."),
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
          title={editing.id ? t("Edit webhook") : t("New webhook")}
          submit={t("Save")}
          size="lg"
          initial={{
            name: editing.name,
            description: editing.description,
            events: editing.event_types ?? [],
            type: target?.type ?? "http",
            address: target?.address,
            auth_header: target?.auth_header,
            format: target?.payload_format ?? "Default",
            verify: !target?.skip_cert_verify,
          }}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "description", label: t("Description") },
            {
              name: "type",
              label: t("Kind"),
              type: "select",
              options: (events.data?.notify_type ?? ["http", "slack"]).map((value) => ({
                value,
                label: value,
              })),
            },
            {
              name: "format",
              label: t("Payload format"),
              type: "select",
              options: formats("http").map((value) => ({ value, label: value })),
              hidden: (values) => values.type !== "http",
            },
            {
              name: "events",
              label: t("Events"),
              type: "multi",
              required: true,
              options: (events.data?.event_type ?? []).map((value) => ({ value, label: word(value) })),
            },
            {
              name: "address",
              label: t("Address"),
              required: true,
              placeholder: "https://example.com/hook",
              check: (value: string) => !/^https?:\/\/\S+$/.test(value) && t("Not an http or https address"),
            },
            {
              name: "auth_header",
              label: t("Authorization header"),
              hidden: (values) => values.type !== "http",
            },
            { name: "verify", label: t("Verify the certificate"), type: "check" },
          ]}
          onSubmit={async (values) => {
            const body = {
              ...editing,
              name: values.name,
              description: values.description,
              enabled: editing.enabled ?? true,
              event_types: values.events,
              targets: [
                {
                  type: values.type,
                  address: values.address,
                  auth_header: values.type === "http" ? values.auth_header : undefined,
                  skip_cert_verify: !values.verify,
                  payload_format: values.type === "http" ? values.format : undefined,
                },
              ],
            };
            if (editing.id) await api.put(ONE, { path: { ...path, webhook_policy_id: editing.id }, body });
            else await api.create(LIST, { path, body });
            list.refetch();
          }}
        />
      )}
    </Stack>
  );
}
