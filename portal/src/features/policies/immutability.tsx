import { useState } from "react";
import { api } from "../../api/client";
import type { ImmutableRule } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Card, Empty, Enabled } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import type { ProjectTab } from "../projects/tab";
import { selector, selectorText } from "./selectors";

const LIST = "/projects/{project_name_or_id}/immutabletagrules";
const ONE = `${LIST}/{immutable_rule_id}` as const;

export function Immutability({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const path = { project_name_or_id: project.project_id };
  const list = useList<ImmutableRule>(LIST, { path, address: "immutable_" });
  const [editing, setEditing] = useState<Partial<ImmutableRule> | null>(null);
  const one = (rule: Partial<ImmutableRule>) => ({ ...path, immutable_rule_id: rule.id });
  const put = useAction(
    (rule: Partial<ImmutableRule>) => api.put(ONE, { path: one(rule), body: rule }),
    "Saved",
  );
  const name = (rule: ImmutableRule) =>
    `${selectorText(t, rule.scope_selectors?.repository?.[0], "repository")}: ${selectorText(t, rule.tag_selectors?.[0], "tag")}`;
  return (
    <Card title={t("Tag immutability")}>
      <ResourceTable<ImmutableRule>
        label={t("Immutability rules")}
        list={list}
        rowKey={(row) => row.id ?? 0}
        name={name}
        create={
          can("immutable-tag", "create") && {
            label: t("Add rule"),
            run: () =>
              setEditing({
                action: "immutable",
                template: "immutable_template",
                tag_selectors: [{ kind: "doublestar", decoration: "matches", pattern: "" }],
                scope_selectors: {
                  repository: [{ kind: "doublestar", decoration: "repoMatches", pattern: "**" }],
                },
              }),
          }
        }
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
          { title: t("State"), cell: (row) => <Enabled value={!row.disabled} /> },
        ]}
        actions={[
          { label: t("Edit"), hidden: () => !can("immutable-tag", "update"), run: setEditing },
          {
            label: (row) => (row.disabled ? t("Enable") : t("Disable")),
            hidden: () => !can("immutable-tag", "update"),
            run: (row) => put.mutate({ ...row, disabled: !row.disabled }),
          },
        ]}
        remove={
          can("immutable-tag", "delete") && {
            run: (row) => api.delete(ONE, { path: one(row) }),
            title: () => t("Delete this rule?"),
            consequence: t("Tags that only this rule protects can be overwritten and deleted at once."),
          }
        }
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={t("Immutability rule")}
          submit={t("Save")}
          initial={editing}
          fields={[
            {
              name: "scope",
              label: t("Repositories"),
              type: "select",
              options: [
                { value: "repoMatches", label: t("matching") },
                { value: "repoExcludes", label: t("not matching") },
              ],
              ...selector("repository", "decoration"),
            },
            {
              name: "repositories",
              label: t("Repository pattern"),
              required: true,
              ...selector("repository", "pattern"),
            },
            {
              name: "tags",
              label: t("Tags"),
              type: "select",
              options: [
                { value: "matches", label: t("matching") },
                { value: "excludes", label: t("not matching") },
              ],
              ...selector("tag", "decoration"),
            },
            {
              name: "pattern",
              label: t("Tag pattern"),
              required: true,
              placeholder: "v*",
              ...selector("tag", "pattern"),
            },
          ]}
          onSubmit={(body) =>
            editing.id ? api.put(ONE, { path: one(editing), body }) : api.create(LIST, { path, body })
          }
        />
      )}
    </Card>
  );
}
