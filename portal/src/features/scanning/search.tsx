import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { Card } from "../../components/ui";
import { useI18n } from "../../i18n";
import { useAddress } from "../../lib/address";
import { q } from "../../lib/format";
import { Findings, useFindings } from "./findings";
import { SEVERITIES } from "./severity";

const FIELDS = [
  "cve_id",
  "severity",
  "cvss_score_v3",
  "repository_name",
  "project_id",
  "package",
  "tag",
  "digest",
];

/** The condition as `q` has it: a score is the lowest one that is looked for. */
function term(field: string, value: string) {
  const text = value.trim();
  const lowest = field === "cvss_score_v3" && /^\d/.test(text);
  return q({ [field]: lowest ? `[${text}~10]` : text });
}

export function VulnerabilitySearch() {
  const { t, word } = useI18n();
  const { get, set } = useAddress();
  const asked = FIELDS.includes(get("by") ?? "") ? get("by")! : "cve_id";
  const [field, setField] = useState(asked);
  const [value, setValue] = useState(get("for") ?? "");
  const list = useFindings(term(asked, get("for") ?? ""), "");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    set({ by: field, for: value.trim(), page: undefined });
  };
  return (
    <Card title={t("Find vulnerabilities")}>
      <Stack>
        <form onSubmit={submit}>
          <Group gap="xs" align="flex-end">
            <NativeSelect
              aria-label={t("Field")}
              value={field}
              onChange={(event) => {
                setField(event.currentTarget.value);
                setValue(event.currentTarget.value === "severity" ? "Critical" : "");
              }}
              data={FIELDS.map((name) => ({ value: name, label: word(name) }))}
            />
            {field === "severity" ? (
              <NativeSelect
                aria-label={t("Value")}
                value={value}
                onChange={(event) => setValue(event.currentTarget.value)}
                data={SEVERITIES.map((name) => ({ value: name, label: word(name) }))}
              />
            ) : (
              <TextInput
                aria-label={t("Value")}
                value={value}
                placeholder={
                  field === "cve_id" ? "CVE-2024-1234" : field === "cvss_score_v3" ? "7.0" : undefined
                }
                onChange={(event) => setValue(event.currentTarget.value)}
              />
            )}
            <Button type="submit" variant="default">
              {t("Search")}
            </Button>
          </Group>
        </form>
        <Findings label={t("Vulnerabilities")} none={t("Nothing matches")} list={list} />
      </Stack>
    </Card>
  );
}
