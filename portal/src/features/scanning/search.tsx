import { Anchor, Button, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import type { VulnerabilityItem } from "../../api/types";
import { DataTable } from "../../components/table";
import { Card, Digest, Empty } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { q } from "../../lib/format";
import { artifactPath } from "../repositories/names";
import { SEVERITIES, Severity } from "./severity";

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

export function VulnerabilitySearch() {
  const { t, word } = useI18n();
  const [field, setField] = useState("cve_id");
  const [value, setValue] = useState("");
  const [terms, setTerms] = useState<string | undefined>();
  const list = useList<VulnerabilityItem>("/security/vul", {
    query: { q: terms, tune_count: true, with_tag: true },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const text = value.trim();
    const range =
      field === "cvss_score_v3" && /^\d/.test(text) && !text.startsWith("[") ? `[${text}~10]` : text;
    setTerms(q({ [field]: range }));
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
        <DataTable
          label={t("Vulnerabilities")}
          list={list}
          rowKey={(row) => `${row.cve_id} ${row.digest} ${row.package} ${row.version}`}
          empty={<Empty title={t("Nothing matches")} />}
          expand={(row) => (
            <Stack gap={6}>
              <Text size="sm" className="markdown">
                {row.desc || t("No description.")}
              </Text>
              {row.links?.map((link) => (
                <Anchor key={link} href={link} size="sm" target="_blank" rel="noreferrer noopener">
                  {link}
                </Anchor>
              ))}
            </Stack>
          )}
          columns={[
            { title: "CVE", cell: (row) => <b>{row.cve_id}</b> },
            { title: t("Severity"), cell: (row) => <Severity value={row.severity} /> },
            { title: "CVSS", cell: (row) => row.cvss_v3_score || "–" },
            { title: t("Repository"), cell: (row) => row.repository_name },
            {
              title: t("Artifact"),
              cell: (row) => (
                <Digest
                  value={row.digest}
                  to={artifactPath(
                    row.project_id,
                    row.repository_name.split("/").slice(1).join("/"),
                    row.digest,
                  )}
                />
              ),
            },
            { title: t("Package"), cell: (row) => `${row.package} ${row.version}` },
            { title: t("Fixed in"), cell: (row) => row.fixed_version || "–" },
          ]}
        />
      </Stack>
    </Card>
  );
}
