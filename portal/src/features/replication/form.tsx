import { Group, Text } from "@mantine/core";
import { api } from "../../api/client";
import type { Registry, ReplicationFilter, ReplicationPolicy } from "../../api/types";
import { type Field, FormModal, type Values } from "../../components/dialogs";
import { isCron } from "../../components/schedule";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";

const sides = (mode: string, other: unknown) =>
  mode === "pull"
    ? { src_registry: other, dest_registry: { id: 0 } }
    : { src_registry: { id: 0 }, dest_registry: other };

/** A part of the rule's filter of a type; filters of other types stay, and so does what this one says besides. */
function filterPart(
  type: string,
  key: "value" | "decoration",
  standard: unknown,
): Pick<Field, "get" | "put"> {
  const find = (rule: Values) => rule.filters?.find((item: ReplicationFilter) => item.type === type);
  return {
    get: (rule) => find(rule)?.[key] ?? standard,
    put: (rule, value: unknown) => {
      const old = find(rule);
      const fresh = type === "tag" || type === "label" ? { type, decoration: "matches" } : { type };
      const next = { ...(old ?? fresh), [key]: value };
      const filters: ReplicationFilter[] = rule.filters ?? [];
      return {
        ...rule,
        filters: old ? filters.map((item) => (item === old ? next : item)) : [...filters, next],
      };
    },
  };
}
const filter = (type: string) => filterPart(type, "value", type === "label" ? [] : "");
const decoration = (type: string) => filterPart(type, "decoration", "matches");

export function PolicyForm(props: {
  policy: Partial<ReplicationPolicy>;
  onClose: () => void;
  onDone: () => void;
}) {
  const { t } = useI18n();
  const { policy } = props;
  const registries = useGet<Registry[]>("/registries", { query: { page_size: 100 } });
  const decorations = [
    { value: "matches", label: t("matching") },
    { value: "excludes", label: t("excluding") },
  ];
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
      get: (rule) => (rule.src_registry?.id ? "pull" : (rule.mode ?? "push")),
      put: (rule, mode: string) => {
        const other = rule.src_registry?.id ? rule.src_registry : rule.dest_registry;
        return { ...rule, mode, ...sides(mode, other) };
      },
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
      get: (rule) => String((rule.src_registry?.id || rule.dest_registry?.id) ?? ""),
      put: (rule, value: string) => ({
        ...rule,
        ...sides(rule.src_registry?.id ? "pull" : (rule.mode ?? "push"), { id: Number(value) }),
      }),
    },
    { name: "filter_name", label: t("Name filter"), placeholder: "library/**", ...filter("name") },
    { name: "tag_decoration", label: t("Tags"), type: "select", options: decorations, ...decoration("tag") },
    { name: "filter_tag", label: t("Tag filter"), placeholder: "v*", ...filter("tag") },
    {
      name: "label_decoration",
      label: t("Labels"),
      type: "select",
      options: decorations,
      ...decoration("label"),
    },
    { name: "filter_label", label: t("Label filter"), type: "tags", ...filter("label") },
    {
      name: "filter_resource",
      label: t("Kind"),
      type: "select",
      options: [
        { value: "", label: t("everything") },
        { value: "image", label: t("Images") },
        { value: "artifact", label: t("Other artifacts") },
      ],
      ...filter("resource"),
    },
    {
      name: "dest_namespace",
      label: t("Destination namespace"),
      help: t("Empty: the same as at the source."),
    },
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
      get: (rule) => String(rule.dest_namespace_replace_count ?? 1),
      put: (rule, value: string) => ({ ...rule, dest_namespace_replace_count: Number(value) }),
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
      get: (rule) => rule.trigger?.type ?? "manual",
      put: (rule, type: string) => ({
        ...rule,
        trigger: {
          ...rule.trigger,
          type,
          ...(type === "scheduled" ? {} : { trigger_settings: { cron: "" } }),
        },
        // Only events tell of deletions.
        ...(type === "event_based" ? {} : { replicate_deletion: false }),
      }),
    },
    {
      name: "cron",
      label: t("Cron"),
      required: true,
      placeholder: "0 30 2 * * *",
      help: t("Six fields, seconds first; UTC"),
      hidden: (rule) => rule.trigger?.type !== "scheduled",
      get: (rule) => rule.trigger?.trigger_settings?.cron,
      put: (rule, cron: string) => ({
        ...rule,
        trigger: { ...rule.trigger, trigger_settings: { ...rule.trigger?.trigger_settings, cron } },
      }),
      check: (value: string) => !isCron(value) && t("Six fields are needed"),
    },
    {
      name: "replicate_deletion",
      label: t("Delete there what is deleted here"),
      type: "check",
      hidden: (rule) => rule.trigger?.type !== "event_based",
      get: (rule) => rule.replicate_deletion ?? rule.deletion,
      put: (rule, value: boolean) => ({ ...rule, replicate_deletion: value, deletion: undefined }),
    },
    { name: "speed", label: t("Bandwidth (Kbps)"), type: "number", min: -1, help: t("-1 means no limit") },
    { name: "override", label: t("Replace tags that exist at the destination"), type: "check" },
    { name: "copy_by_chunk", label: t("Copy blobs in chunks"), type: "check" },
    { name: "single_active_replication", label: t("One run at a time"), type: "check" },
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
      initial={policy}
      load={policy.id ? () => api.get("/replication/policies/{id}", { path: { id: policy.id } }) : undefined}
      onSubmit={async ({ mode: _, ...rule }) => {
        const filters = rule.filters?.filter((item: ReplicationFilter) => String(item.value ?? "") !== "");
        const body = { ...rule, filters };
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
