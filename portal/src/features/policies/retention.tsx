import { Button, Group, Stack } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { RetentionPolicy, RetentionRule } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { ResourceTable } from "../../components/resource-table";
import { ScheduleEditor } from "../../components/schedule";
import { Await, Card, Empty, Enabled } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import type { ProjectTab } from "../projects/tab";
import { RetentionRuleForm } from "./retention-rule";
import { RetentionRuns } from "./retention-runs";
import { ruleText, selectorText } from "./selectors";

export function Retention({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const id = Number(project.metadata?.retention_id) || 0;
  const path = { id };
  const query = useGet<RetentionPolicy>("/retentions/{id}", { path }, { enabled: id > 0 });
  const confirm = useConfirm();
  const [editing, setEditing] = useState<{ index: number | null; rule: RetentionRule } | null>(null);
  const mayEdit = can("tag-retention", "update") || can("tag-retention", "create");
  const mayRun = can("tag-retention", "operate") || mayEdit;
  const empty: RetentionPolicy = {
    algorithm: "or",
    rules: [],
    trigger: { kind: "Schedule", references: {}, settings: { cron: "" } },
    scope: { level: "project", ref: project.project_id },
  };
  const policy = query.data ?? empty;
  const write = async (next: RetentionPolicy) => {
    if (id) await api.put("/retentions/{id}", { path, body: next });
    else await api.create("/retentions", { body: next });
  };
  const save = useAction(write, "Saved");
  const run = useAction(
    (dry_run: boolean) => api.post("/retentions/{id}/executions", { path, body: { dry_run, id } }),
    "Started",
  );
  const withRule = (rule: RetentionRule, index: number | null): RetentionPolicy => ({
    ...policy,
    rules:
      index === null ? [...policy.rules, rule] : policy.rules.map((old, at) => (at === index ? rule : old)),
  });

  const body = (
    <Stack>
      <ResourceTable<{ rule: RetentionRule; index: number }>
        toolbar={false}
        name={({ rule }) => ruleText(t, rule)}
        label={t("Retention rules")}
        list={{ rows: policy.rules.map((rule, index) => ({ rule, index })) }}
        rowKey={(row) => row.index}
        empty={
          <Empty title={t("No rules: every tag is kept")}>
            {t("A rule says what to keep; a run deletes the other tags that its rules look at.")}
          </Empty>
        }
        columns={[
          {
            title: t("Repositories"),
            cell: ({ rule }) => selectorText(t, rule.scope_selectors?.repository?.[0], "repository"),
          },
          { title: t("Tags"), cell: ({ rule }) => selectorText(t, rule.tag_selectors?.[0], "tag") },
          { title: t("Keep"), cell: ({ rule }) => ruleText(t, rule) },
          {
            title: t("State"),
            cell: ({ rule }) => <Enabled value={!rule.disabled} />,
          },
        ]}
        actions={
          mayEdit
            ? [
                { label: t("Edit"), run: ({ rule, index }) => setEditing({ rule, index }) },
                {
                  label: ({ rule }) => (rule.disabled ? t("Enable") : t("Disable")),
                  run: ({ rule, index }) =>
                    save.mutate(withRule({ ...rule, disabled: !rule.disabled }, index)),
                },
              ]
            : undefined
        }
        remove={
          mayEdit && {
            run: ({ index }) => write({ ...policy, rules: policy.rules.filter((_, at) => at !== index) }),
            title: () => t("Delete this rule?"),
            consequence: t("Tags that only this rule keeps are deleted at the next run."),
          }
        }
      />
      {mayEdit && policy.rules.length > 0 && (
        <ScheduleEditor
          value={{
            type: policy.trigger.settings?.cron ? "Schedule" : "None",
            cron: policy.trigger.settings?.cron,
            next_scheduled_time: policy.trigger.settings?.next_scheduled_time,
          }}
          busy={save.isPending}
          onSave={(schedule) =>
            save.mutate({
              ...policy,
              trigger: { ...policy.trigger, kind: "Schedule", settings: { cron: schedule.cron ?? "" } },
            })
          }
        />
      )}
      {id > 0 && <RetentionRuns id={id} mayRun={mayRun} />}
    </Stack>
  );

  return (
    <Card
      title={t("Tag retention")}
      right={
        <Group gap="xs">
          {mayRun && id > 0 && policy.rules.length > 0 && (
            <>
              <Button size="xs" variant="default" onClick={() => run.mutate(true)}>
                {t("Dry run")}
              </Button>
              <Button
                size="xs"
                variant="default"
                onClick={async () => {
                  const yes = await confirm({
                    title: t("Run retention now?"),
                    body: t("Tags that no rule keeps are deleted. A dry run shows first what would go."),
                    confirm: t("Run now"),
                    danger: true,
                  });
                  if (yes) run.mutate(false);
                }}
              >
                {t("Run now")}
              </Button>
            </>
          )}
          {mayEdit && (
            <Button
              size="xs"
              leftSection={<Plus size={14} aria-hidden />}
              onClick={() =>
                setEditing({
                  index: null,
                  rule: {
                    action: "retain",
                    template: "latestPushedK",
                    params: { latestPushedK: 10 },
                    tag_selectors: [
                      {
                        kind: "doublestar",
                        decoration: "matches",
                        pattern: "**",
                        extras: '{"untagged":true}',
                      },
                    ],
                    scope_selectors: {
                      repository: [{ kind: "doublestar", decoration: "repoMatches", pattern: "**" }],
                    },
                  },
                })
              }
            >
              {t("Add rule")}
            </Button>
          )}
        </Group>
      }
    >
      {id > 0 ? <Await query={query}>{() => body}</Await> : body}
      {editing && (
        <RetentionRuleForm
          rule={editing.rule}
          onClose={() => setEditing(null)}
          onSave={async (rule) => {
            await save.mutateAsync(withRule(rule, editing.index));
            setEditing(null);
          }}
        />
      )}
    </Card>
  );
}
