import type { RetentionRule, Selector } from "../../api/types";
import type { Field, Values } from "../../components/dialogs";
import type { Translate } from "../../i18n";

// Harbor's templates, the name of their one parameter, and how people say them.
export const TEMPLATES = [
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

export function ruleText(t: Translate, rule: RetentionRule) {
  const template = TEMPLATES.find(([name]) => name === rule.template);
  const n = Number(rule.params?.[rule.template] ?? 0);
  return template ? t(template[2], { n }) : rule.template;
}

export function selectorText(t: Translate, selector: Selector | undefined, kind: "repository" | "tag") {
  if (!selector) return kind === "repository" ? t("all repositories") : t("all tags");
  const except = selector.decoration === (kind === "repository" ? "repoExcludes" : "excludes");
  return except ? t("all but {pattern}", { pattern: selector.pattern ?? "" }) : selector.pattern;
}

/** A field that is a part of a rule's first selector; the rule's other selectors stay. */
export function selector(of: "repository" | "tag", key: string): Pick<Field, "get" | "put"> {
  const list = (rule: Values): Values[] =>
    (of === "tag" ? rule.tag_selectors : rule.scope_selectors?.repository) ?? [];
  return {
    get: (rule) => list(rule)[0]?.[key],
    put: (rule, value: unknown) => {
      const [first, ...others] = list(rule);
      const next = [{ kind: "doublestar", ...first, [key]: value }, ...others];
      return of === "tag"
        ? { ...rule, tag_selectors: next }
        : { ...rule, scope_selectors: { ...rule.scope_selectors, repository: next } };
    },
  };
}
