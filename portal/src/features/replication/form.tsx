import { Group, Text } from "@mantine/core";
import { api } from "../../api/client";
import type { Registry, ReplicationFilter, ReplicationPolicy } from "../../api/types";
import { type Field, FormModal } from "../../components/dialogs";
import { isCron } from "../../components/schedule";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function PolicyForm(props: {
  policy: Partial<ReplicationPolicy>;
  onClose: () => void;
  onDone: () => void;
}) {
  const { t } = useI18n();
  const { policy } = props;
  const registries = useGet<Registry[]>("/registries", { query: { page_size: 100 } });
  const filter = (type: string) => {
    const found = policy.filters?.find((item) => item.type === type);
    return found ? (Array.isArray(found.value) ? found.value.join(",") : found.value) : "";
  };
  const pulls = !!policy.src_registry?.id;
  const fields: Field[] = [
    { name: "name", label: t("Name"), required: true },
    { name: "description", label: t("Description") },
    {
      name: "mode",
      label: t("Mode"),
      type: "select",
      disabled: !!policy.id,
      options: [
        { value: "push", label: t("Push: from here to the other registry") },
        { value: "pull", label: t("Pull: from the other registry to here") },
      ],
    },
    {
      name: "registry",
      label: t("The other registry"),
      type: "select",
      required: true,
      options: [
        { value: "", label: "" },
        ...(registries.data ?? []).map((item) => ({
          value: String(item.id),
          label: `${item.name} (${item.url})`,
        })),
      ],
    },
    { name: "filter_name", label: t("Name filter"), placeholder: "library/**" },
    { name: "filter_tag", label: t("Tag filter"), placeholder: "v*" },
    { name: "filter_label", label: t("Labels, separated by commas") },
    {
      name: "filter_resource",
      label: t("Kind"),
      type: "select",
      options: [
        { value: "", label: t("everything") },
        { value: "image", label: t("Images") },
        { value: "artifact", label: t("Other artifacts") },
      ],
    },
    { name: "namespace", label: t("Destination namespace"), help: t("Empty: the same as at the source.") },
    {
      name: "replace",
      label: t("Flattening"),
      type: "select",
      options: [
        { value: "-1", label: t("Flatten all levels") },
        { value: "0", label: t("No flattening") },
        { value: "1", label: t("Flatten 1 level") },
        { value: "2", label: t("Flatten 2 levels") },
        { value: "3", label: t("Flatten 3 levels") },
      ],
    },
    {
      name: "trigger",
      label: t("Trigger"),
      type: "select",
      options: [
        { value: "manual", label: t("By hand") },
        { value: "scheduled", label: t("On a schedule") },
        { value: "event_based", label: t("At every push") },
      ],
    },
    {
      name: "cron",
      label: t("Cron"),
      required: true,
      placeholder: "0 30 2 * * *",
      help: t("Six fields, seconds first; UTC"),
      hidden: (values) => values.trigger !== "scheduled",
      check: (value: string) => !isCron(value) && t("Six fields are needed"),
    },
    {
      name: "deletion",
      label: t("Delete there what is deleted here"),
      type: "check",
      hidden: (values) => values.trigger !== "event_based",
    },
    { name: "speed", label: t("Bandwidth (Kbps)"), type: "number", min: -1, help: t("-1 means no limit") },
    { name: "override", label: t("Replace tags that exist at the destination"), type: "check" },
    { name: "chunk", label: t("Copy blobs in chunks"), type: "check" },
    { name: "single", label: t("One run at a time"), type: "check" },
  ];
  return (
    <FormModal
      key={policy.id ?? "new"}
      opened
      onClose={props.onClose}
      title={policy.id ? t("Edit rule") : t("New rule")}
      submit={t("Save")}
      size="lg"
      fields={fields}
      initial={{
        name: policy.name,
        description: policy.description,
        mode: pulls ? "pull" : "push",
        registry: String((pulls ? policy.src_registry?.id : policy.dest_registry?.id) || ""),
        filter_name: filter("name"),
        filter_tag: filter("tag"),
        filter_label: filter("label"),
        filter_resource: filter("resource"),
        namespace: policy.dest_namespace,
        replace: String(policy.dest_namespace_replace_count ?? 1),
        trigger: policy.trigger?.type ?? "manual",
        cron: policy.trigger?.trigger_settings?.cron,
        deletion: policy.replicate_deletion ?? policy.deletion,
        speed: policy.speed ?? -1,
        override: policy.override ?? true,
        chunk: policy.copy_by_chunk,
        single: policy.single_active_replication,
      }}
      onSubmit={async (values) => {
        const filters: ReplicationFilter[] = [];
        if (values.filter_name) filters.push({ type: "name", value: values.filter_name });
        if (values.filter_tag) filters.push({ type: "tag", value: values.filter_tag, decoration: "matches" });
        if (values.filter_label) {
          const labels = values.filter_label.split(",").map((word: string) => word.trim());
          filters.push({ type: "label", value: labels, decoration: "matches" });
        }
        if (values.filter_resource) filters.push({ type: "resource", value: values.filter_resource });
        const other = { id: Number(values.registry) };
        const body = {
          ...policy,
          name: values.name,
          description: values.description,
          src_registry: values.mode === "pull" ? other : { id: 0 },
          dest_registry: values.mode === "push" ? other : { id: 0 },
          dest_namespace: values.namespace ?? "",
          dest_namespace_replace_count: Number(values.replace),
          trigger: {
            type: values.trigger,
            trigger_settings: { cron: values.trigger === "scheduled" ? values.cron.trim() : "" },
          },
          filters,
          replicate_deletion: values.trigger === "event_based" && !!values.deletion,
          speed: values.speed ?? -1,
          override: !!values.override,
          copy_by_chunk: !!values.chunk,
          single_active_replication: !!values.single,
          enabled: policy.enabled ?? true,
        };
        if (policy.id) await api.put("/replication/policies/{id}", { path: { id: policy.id }, body });
        else await api.create("/replication/policies", { body });
        props.onDone();
      }}
      note={
        <Group gap="xs">
          <Text size="sm" c="dimmed">
            {t("Patterns: * is any text without a slash, ** any text, {a,b} one of several.")}
          </Text>
        </Group>
      }
    />
  );
}
