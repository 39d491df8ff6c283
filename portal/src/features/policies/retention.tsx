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
import { logged } from "../../lib/operations";
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
  // The policy is read again before it is written: rules that others made or took away meanwhile stay as they are.
  const write = async (change: (now: RetentionPolicy) => RetentionPolicy) => {
    if (id) await api.edit<RetentionPolicy>("/retentions/{id}", path, change);
    else await api.create("/retentions", { body: change(empty) });
  };
  const save = useAction(write, "Saved");
  const run = useAction(
    (dry_run: boolean) =>
      logged(
        "Tag retention",
        project.name ?? "",
        () => api.create("/retentions/{id}/executions", { path, body: { dry_run, id } }),
        (made) => ({
          template: "/retentions/{id}/executions",
          options: { path, query: { page_size: 100 } },
          id: made,
        }),
      ),
    "Started",
  );
  /** The policy with `next` in place of `old`; without `old` it is added, without `next` it goes. */
  const withRule = (old: RetentionRule | null, next: RetentionRule | null) => (now: RetentionPolicy) => {
    if (!old) return { ...now, rules: [...now.rules, ...(next ? [next] : [])] };
    // By what it says: its number changes when a rule before it goes.
    const said = (rule: RetentionRule) => JSON.stringify({ ...rule, id: undefined });
    const at = now.rules.findIndex((rule) => said(rule) === said(old));
    if (at < 0) throw new Error(t("Not found"));
    return {
      ...now,
      rules: now.rules.flatMap((rule, index) => (index !== at ? [rule] : next ? [next] : [])),
    };
  };

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
                  run: ({ rule }) => save.mutate(withRule(rule, { ...rule, disabled: !rule.disabled })),
                },
              ]
            : undefined
        }
        remove={
          mayEdit && {
            run: ({ rule }) => write(withRule(rule, null)),
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
            save.mutate((now) => ({
              ...now,
              trigger: { ...now.trigger, kind: "Schedule", settings: { cron: schedule.cron ?? "" } },
            }))
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
            await save.mutateAsync(withRule(editing.index === null ? null : editing.rule, rule));
            setEditing(null);
          }}
        />
      )}
    </Card>
  );
}
