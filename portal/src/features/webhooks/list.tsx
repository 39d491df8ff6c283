import { Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { WebhookEvents, WebhookPolicy } from "../../api/types";
import { type Field, FormModal, type Values } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Enabled, Time } from "../../components/ui";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import type { ProjectTab } from "../projects/tab";
import { Deliveries } from "./deliveries";
import { LIST, ONE } from "./paths";

export function Webhooks({ project, can }: ProjectTab) {
  const { t, word } = useI18n();
  const path = { project_name_or_id: project.project_id };
  const events = useGet<WebhookEvents>("/projects/{project_name_or_id}/webhook/events", { path });
  const [name, setName] = useFilter("name");
  const list = useList<WebhookPolicy>(LIST, { path, query: { q: q({ name: like(name) }) }, address: "" });
  const [editing, setEditing] = useState<Partial<WebhookPolicy> | null>(null);
  const one = (policy: Partial<WebhookPolicy>) => ({ ...path, webhook_policy_id: policy.id });
  const toggle = useAction(
    (row: WebhookPolicy) =>
      api.edit<WebhookPolicy>(ONE, one(row), (stored) => ({ ...stored, enabled: !row.enabled })),
    "Saved",
  );
  const formats = (kind: string) =>
    events.data?.payload_formats?.find((item) => item.notify_type === kind)?.formats ?? ["Default"];
  const target = (key: string): Pick<Field, "get" | "put"> => ({
    get: (policy) => policy.targets?.[0]?.[key],
    put: (policy, value: unknown) => {
      const [first, ...others] = policy.targets ?? [];
      return { ...policy, targets: [{ ...first, [key]: value }, ...others] };
    },
  });
  const slack = (policy: Values) => policy.targets?.[0]?.type !== "http";
  return (
    <Stack>
      <ResourceTable<WebhookPolicy>
        label={t("Webhooks")}
        list={list}
        rowKey={(row) => row.id}
        name={(row) => row.name}
        search={{ value: name, onChange: setName }}
        create={
          can("notification-policy", "create") && {
            label: t("New webhook"),
            run: () =>
              setEditing({
                enabled: true,
                event_types: [],
                targets: [{ type: "http", payload_format: "Default", skip_cert_verify: false }],
              }),
          }
        }
        empty={
          <Empty title={name ? t("No webhook matches") : t("No webhooks yet")}>
            {t("A webhook notifies another system of pushes, pulls, scans and more.")}
          </Empty>
        }
        expand={(row) => <Deliveries project={project.project_id} policy={row.id} />}
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.name}</b> },
          {
            title: t("Target"),
            cell: (row) => (
              <Text size="sm" className="wrap">
                {row.targets?.[0]?.address} ({row.targets?.[0]?.type})
              </Text>
            ),
          },
          {
            title: t("Events"),
            cell: (row) => <Text size="sm">{row.event_types?.map(word).join(", ")}</Text>,
          },
          { title: t("State"), cell: (row) => <Enabled value={row.enabled} /> },
          { title: t("Created"), cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          { label: t("Edit"), hidden: () => !can("notification-policy", "update"), run: setEditing },
          {
            label: (row) => (row.enabled ? t("Disable") : t("Enable")),
            hidden: () => !can("notification-policy", "update"),
            run: (row) => toggle.mutate(row),
          },
        ]}
        remove={
          can("notification-policy", "delete") && {
            run: (row) => api.delete(ONE, { path: one(row) }),
            consequence: t("Its deliveries so far are forgotten too."),
          }
        }
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit webhook") : t("New webhook")}
          submit={t("Save")}
          size="lg"
          initial={editing}
          load={editing.id ? () => api.get(ONE, { path: one(editing) }) : undefined}
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
              ...target("type"),
            },
            {
              name: "format",
              label: t("Payload format"),
              type: "select",
              options: formats("http").map((value) => ({ value, label: value })),
              hidden: slack,
              ...target("payload_format"),
            },
            {
              name: "event_types",
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
              ...target("address"),
            },
            {
              name: "auth_header",
              label: t("Authorization header"),
              hidden: slack,
              ...target("auth_header"),
            },
            {
              name: "verify",
              label: t("Verify the certificate"),
              type: "check",
              get: (policy) => !policy.targets?.[0]?.skip_cert_verify,
              put: (policy, value: boolean) =>
                target("skip_cert_verify").put?.(policy, !value as never) ?? policy,
            },
          ]}
          onSubmit={(body) =>
            editing.id ? api.put(ONE, { path: one(editing), body }) : api.create(LIST, { path, body })
          }
        />
      )}
    </Stack>
  );
}
