import {
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
import { useState } from "react";
import type { RetentionRule } from "../../api/types";
import { useI18n } from "../../i18n";
import { TEMPLATES } from "./selectors";

export function RetentionRuleForm(props: {
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
