import type { RetentionRule } from "../../api/types";
import { FormModal, type Values } from "../../components/dialogs";
import { useI18n } from "../../i18n";
import { selector, TEMPLATES } from "./selectors";

// Harbor keeps further wishes of a selector as JSON text; without it untagged artifacts count.
function extras(text: unknown): Values {
  try {
    return typeof text === "string" && text ? JSON.parse(text) : {};
  } catch {
    return {};
  }
}

export function RetentionRuleForm(props: {
  rule: RetentionRule;
  onClose: () => void;
  onSave: (rule: RetentionRule) => Promise<unknown>;
}) {
  const { t } = useI18n();
  const options = (matches: string, excludes: string) => [
    { value: matches, label: t("matching") },
    { value: excludes, label: t("not matching") },
  ];
  const extra = selector("tag", "extras");
  return (
    <FormModal
      opened
      onClose={props.onClose}
      title={t("Retention rule")}
      submit={t("Save")}
      size="lg"
      initial={props.rule}
      onSubmit={(rule) => props.onSave(rule as RetentionRule)}
      fields={[
        {
          name: "scope",
          label: t("Repositories"),
          type: "select",
          options: options("repoMatches", "repoExcludes"),
          ...selector("repository", "decoration"),
        },
        {
          name: "repositories",
          label: t("Repository pattern"),
          required: true,
          help: t("Patterns: * is any text without a slash, ** any text, {a,b} one of several."),
          ...selector("repository", "pattern"),
        },
        {
          name: "tags",
          label: t("Tags"),
          type: "select",
          options: options("matches", "excludes"),
          ...selector("tag", "decoration"),
        },
        { name: "pattern", label: t("Tag pattern"), required: true, ...selector("tag", "pattern") },
        {
          name: "untagged",
          label: t("Look at untagged artifacts too"),
          type: "switch",
          get: (rule) => extras(extra.get?.(rule)).untagged ?? true,
          put: (rule, untagged: boolean) => {
            const text = JSON.stringify({ ...extras(extra.get?.(rule)), untagged });
            return extra.put?.(rule, text as never) ?? rule;
          },
        },
        {
          name: "template",
          label: t("Keep"),
          type: "select",
          options: TEMPLATES.map(([value, label]) => ({ value, label: t(label) })),
          put: (rule, template: string) => {
            const n = rule.params?.[rule.template] ?? 10;
            return { ...rule, template, params: template === "always" ? {} : { [template]: n } };
          },
        },
        {
          name: "n",
          label: t("Number"),
          type: "number",
          min: 0,
          max: 15_000,
          required: true,
          hidden: (rule) => rule.template === "always",
          get: (rule) => rule.params?.[rule.template],
          put: (rule, n: number) => ({ ...rule, params: { ...rule.params, [rule.template]: n } }),
        },
      ]}
    />
  );
}
