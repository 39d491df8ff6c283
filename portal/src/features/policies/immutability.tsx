import { Badge, Button } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { ImmutableRule } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Card, Empty } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import type { ProjectTab } from "../projects/tab";
import { selectorText } from "./selectors";

export function Immutability({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const path = { project_name_or_id: project.project_id };
  const list = useList<ImmutableRule>("/projects/{project_name_or_id}/immutabletagrules", { path });
  const [adding, add] = useDisclosure(false);
  const [editing, setEditing] = useState<ImmutableRule | null>(null);
  const ONE = "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}";
  const put = useAction(
    (rule: ImmutableRule) => api.put(ONE, { path: { ...path, immutable_rule_id: rule.id }, body: rule }),
    "Saved",
  );
  const remove = useAction(
    (rule: ImmutableRule) => api.delete(ONE, { path: { ...path, immutable_rule_id: rule.id } }),
    "Deleted",
  );
  const shape = (values: Record<string, string>, base?: ImmutableRule): ImmutableRule => ({
    ...base,
    action: "immutable",
    template: "immutable_template",
    tag_selectors: [{ kind: "doublestar", decoration: values.tags, pattern: values.pattern }],
    scope_selectors: {
      repository: [{ kind: "doublestar", decoration: values.scope, pattern: values.repositories }],
    },
  });
  return (
    <Card
      title={t("Tag immutability")}
      right={
        can("immutable-tag", "create") && (
          <Button size="xs" leftSection={<Plus size={14} aria-hidden />} onClick={add.open}>
            {t("Add rule")}
          </Button>
        )
      }
    >
      <DataTable
        label={t("Immutability rules")}
        list={list}
        rowKey={(row) => row.id ?? 0}
        empty={
          <Empty title={t("No rules: every tag may be moved")}>
            {t("A tag that a rule matches can be neither overwritten nor deleted.")}
          </Empty>
        }
        columns={[
          {
            title: t("Repositories"),
            cell: (row) => selectorText(t, row.scope_selectors?.repository?.[0], "repository"),
          },
          { title: t("Tags"), cell: (row) => selectorText(t, row.tag_selectors?.[0], "tag") },
          {
            title: t("State"),
            cell: (row) => (
              <Badge color={row.disabled ? "gray" : "teal"} variant="light" tt="none">
                {row.disabled ? t("Disabled") : t("Enabled")}
              </Badge>
            ),
          },
        ]}
        actions={[
          { label: t("Edit"), hidden: () => !can("immutable-tag", "update"), run: setEditing },
          {
            label: t("Enable or disable"),
            hidden: () => !can("immutable-tag", "update"),
            run: (row) => put.mutate({ ...row, disabled: !row.disabled }),
          },
          {
            label: t("Delete"),
            danger: true,
            hidden: () => !can("immutable-tag", "delete"),
            run: (row) => remove.mutate(row),
          },
        ]}
      />
      <SelectorModal
        opened={adding}
        onClose={add.close}
        onSubmit={(values) =>
          api
            .create("/projects/{project_name_or_id}/immutabletagrules", { path, body: shape(values) })
            .then(() => list.refetch())
        }
      />
      {editing && (
        <SelectorModal
          opened
          rule={editing}
          onClose={() => setEditing(null)}
          onSubmit={(values) => put.mutateAsync(shape(values, editing))}
        />
      )}
    </Card>
  );
}

function SelectorModal(props: {
  opened: boolean;
  rule?: ImmutableRule;
  onClose: () => void;
  onSubmit: (values: Record<string, string>) => Promise<unknown>;
}) {
  const { t } = useI18n();
  const scope = props.rule?.scope_selectors?.repository?.[0];
  const tag = props.rule?.tag_selectors?.[0];
  return (
    <FormModal
      opened={props.opened}
      onClose={props.onClose}
      title={t("Immutability rule")}
      submit={t("Save")}
      initial={{
        scope: scope?.decoration ?? "repoMatches",
        repositories: scope?.pattern ?? "**",
        tags: tag?.decoration ?? "matches",
        pattern: tag?.pattern ?? "",
      }}
      fields={[
        {
          name: "scope",
          label: t("Repositories"),
          type: "select",
          options: [
            { value: "repoMatches", label: t("matching") },
            { value: "repoExcludes", label: t("not matching") },
          ],
        },
        { name: "repositories", label: t("Repository pattern"), required: true },
        {
          name: "tags",
          label: t("Tags"),
          type: "select",
          options: [
            { value: "matches", label: t("matching") },
            { value: "excludes", label: t("not matching") },
          ],
        },
        { name: "pattern", label: t("Tag pattern"), required: true, placeholder: "v*" },
      ]}
      onSubmit={props.onSubmit}
    />
  );
}
