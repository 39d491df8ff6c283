// Which tags a project keeps (retention) and which may never change (immutability).
import {
  Badge,
  Button,
  Group,
  Modal,
  NativeSelect,
  NumberInput,
  Stack,
  Switch,
  Text,
  TextInput,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type {
  ImmutableRule,
  RetentionExecution,
  RetentionPolicy,
  RetentionRule,
  RetentionTask,
  Selector,
} from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal, LogModal } from "../../components/dialogs";
import { ScheduleEditor } from "../../components/schedule";
import { DataTable } from "../../components/table";
import { Await, Card, Empty, finished, Status, Time, untilFinished } from "../../components/ui";
import { duration } from "../../format";
import { useAction, useGet, useList } from "../../hooks";
import { type Translate, useI18n } from "../../i18n";
import type { ProjectTab } from "../project";

export function Policies(props: ProjectTab) {
  return (
    <Stack gap="lg">
      {props.can("tag-retention", "read") && <Retention {...props} />}
      {props.can("immutable-tag", "list") && <Immutability {...props} />}
    </Stack>
  );
}

// Harbor's templates, the name of their one parameter, and how people say them.
const TEMPLATES = [
  ["latestPushedK", "the most recently pushed artifacts", "the {n} most recently pushed artifacts"],
  ["latestPulledN", "the most recently pulled artifacts", "the {n} most recently pulled artifacts"],
  [
    "nDaysSinceLastPush",
    "artifacts pushed within the last days",
    "artifacts pushed within the last {n} days",
  ],
  [
    "nDaysSinceLastPull",
    "artifacts pulled within the last days",
    "artifacts pulled within the last {n} days",
  ],
  ["always", "all artifacts", "all artifacts"],
] as const;

function ruleText(t: Translate, rule: RetentionRule) {
  const template = TEMPLATES.find(([name]) => name === rule.template);
  const n = Number(rule.params?.[rule.template] ?? 0);
  return template ? t(template[2], { n }) : rule.template;
}

function selectorText(t: Translate, selector: Selector | undefined, kind: "repository" | "tag") {
  if (!selector) return kind === "repository" ? t("all repositories") : t("all tags");
  const except = selector.decoration === (kind === "repository" ? "repoExcludes" : "excludes");
  return except ? t("all but {pattern}", { pattern: selector.pattern ?? "" }) : selector.pattern;
}

function Retention({ project, can }: ProjectTab) {
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
      <DataTable
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
            cell: ({ rule }) =>
              rule.disabled ? (
                <Badge color="gray" variant="light" tt="none">
                  {t("Disabled")}
                </Badge>
              ) : (
                <Badge color="teal" variant="light" tt="none">
                  {t("Enabled")}
                </Badge>
              ),
          },
        ]}
        actions={
          mayEdit
            ? [
                { label: t("Edit"), run: ({ rule, index }) => setEditing({ rule, index }) },
                {
                  label: t("Enable or disable"),
                  run: ({ rule, index }) =>
                    save.mutate(withRule({ ...rule, disabled: !rule.disabled }, index)),
                },
                {
                  label: t("Delete"),
                  danger: true,
                  run: ({ index }) =>
                    save.mutate({ ...policy, rules: policy.rules.filter((_, at) => at !== index) }),
                },
              ]
            : undefined
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

function RetentionRuleForm(props: {
  rule: RetentionRule;
  onClose: () => void;
  onSave: (rule: RetentionRule) => Promise<unknown>;
}) {
  const { t } = useI18n();
  const { rule } = props;
  const scope = rule.scope_selectors.repository?.[0];
  const tag = rule.tag_selectors[0];
  const [values, setValues] = useState({
    scope: scope?.decoration ?? "repoMatches",
    repositories: scope?.pattern ?? "**",
    tags: tag?.decoration ?? "matches",
    pattern: tag?.pattern ?? "**",
    untagged: !tag?.extras || /"untagged":\s*true/.test(tag.extras),
    template: rule.template,
    n: Number(rule.params?.[rule.template] ?? 10),
  });
  const set = (part: Partial<typeof values>) => setValues({ ...values, ...part });
  return (
    <Modal
      opened
      onClose={props.onClose}
      title={t("Retention rule")}
      size="lg"
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          props
            .onSave({
              ...rule,
              action: "retain",
              template: values.template,
              params: values.template === "always" ? {} : { [values.template]: values.n },
              tag_selectors: [
                {
                  kind: "doublestar",
                  decoration: values.tags,
                  pattern: values.pattern,
                  extras: JSON.stringify({ untagged: values.untagged }),
                },
              ],
              scope_selectors: {
                repository: [{ kind: "doublestar", decoration: values.scope, pattern: values.repositories }],
              },
            })
            .catch(() => {});
        }}
      >
        <Stack gap="sm">
          <Group grow align="flex-end">
            <NativeSelect
              label={t("Repositories")}
              value={values.scope}
              onChange={(event) => set({ scope: event.currentTarget.value })}
              data={[
                { value: "repoMatches", label: t("matching") },
                { value: "repoExcludes", label: t("not matching") },
              ]}
            />
            <TextInput
              aria-label={t("Repository pattern")}
              required
              value={values.repositories}
              onChange={(event) => set({ repositories: event.currentTarget.value })}
            />
          </Group>
          <Group grow align="flex-end">
            <NativeSelect
              label={t("Tags")}
              value={values.tags}
              onChange={(event) => set({ tags: event.currentTarget.value })}
              data={[
                { value: "matches", label: t("matching") },
                { value: "excludes", label: t("not matching") },
              ]}
            />
            <TextInput
              aria-label={t("Tag pattern")}
              required
              value={values.pattern}
              onChange={(event) => set({ pattern: event.currentTarget.value })}
            />
          </Group>
          <Switch
            label={t("Look at untagged artifacts too")}
            checked={values.untagged}
            onChange={(event) => set({ untagged: event.currentTarget.checked })}
          />
          <Group grow align="flex-end">
            <NativeSelect
              label={t("Keep")}
              value={values.template}
              onChange={(event) => set({ template: event.currentTarget.value })}
              data={TEMPLATES.map(([value, label]) => ({ value, label: t(label) }))}
            />
            {values.template !== "always" && (
              <NumberInput
                label={t("Number")}
                min={0}
                max={15000}
                value={values.n}
                onChange={(n) => set({ n: Number(n) || 0 })}
              />
            )}
          </Group>
          <Text size="xs" c="dimmed">
            {t("Patterns: * is any text without a slash, ** any text, {a,b} one of several.")}
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={props.onClose}>
              {t("Cancel")}
            </Button>
            <Button type="submit">{t("Save")}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function RetentionRuns({ id, mayRun }: { id: number; mayRun: boolean }) {
  const { t, word } = useI18n();
  const list = useList<RetentionExecution>(
    "/retentions/{id}/executions",
    { path: { id }, pageSize: 15 },
    {
      refetchInterval: (query) =>
        query.state.data?.rows.some((row) => !finished(row.status)) ? 2000 : false,
    },
  );
  const stop = useAction(
    (eid: number) =>
      api.patch("/retentions/{id}/executions/{eid}", { path: { id, eid }, body: { action: "stop" } }),
    "Stopped",
  );
  return (
    <DataTable
      label={t("Retention runs")}
      list={list}
      rowKey={(row) => row.id}
      empty={<Empty title={t("No runs yet")} />}
      expand={(row) => <RetentionTasks id={id} execution={row} />}
      columns={[
        { title: t("Run"), cell: (row) => row.id },
        { title: t("Status"), cell: (row) => <Status value={row.status} /> },
        { title: t("Dry run"), cell: (row) => (row.dry_run ? t("Yes") : t("No")) },
        { title: t("Started by"), cell: (row) => word(row.trigger) || "–" },
        { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
        { title: t("Took"), cell: (row) => duration(row.start_time, row.end_time) },
      ]}
      actions={
        mayRun
          ? [{ label: t("Stop"), hidden: (row) => finished(row.status), run: (row) => stop.mutate(row.id) }]
          : undefined
      }
    />
  );
}

function RetentionTasks({ id, execution }: { id: number; execution: RetentionExecution }) {
  const { t } = useI18n();
  const [log, setLog] = useState<RetentionTask | null>(null);
  const list = useList<RetentionTask>(
    "/retentions/{id}/executions/{eid}/tasks",
    { path: { id, eid: execution.id } },
    { refetchInterval: untilFinished(execution) },
  );
  return (
    <>
      <DataTable
        label={t("Repositories of the run")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No repository was looked at")} />}
        columns={[
          { title: t("Repository"), cell: (row) => row.repository },
          { title: t("Status"), cell: (row) => <Status value={row.status} /> },
          { title: t("Kept"), align: "right", cell: (row) => `${row.retained ?? 0} / ${row.total ?? 0}` },
          {
            title: t("Log"),
            cell: (row) => (
              <Button size="compact-xs" variant="subtle" onClick={() => setLog(row)}>
                {t("Log")}
              </Button>
            ),
          },
        ]}
      />
      <LogModal
        title={t("Log of {name}", { name: log?.repository ?? "" })}
        source={
          log && {
            template: "/retentions/{id}/executions/{eid}/tasks/{tid}",
            options: { path: { id, eid: execution.id, tid: log.id } },
          }
        }
        live={!!log && !finished(log.status)}
        onClose={() => setLog(null)}
      />
    </>
  );
}

function Immutability({ project, can }: ProjectTab) {
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
