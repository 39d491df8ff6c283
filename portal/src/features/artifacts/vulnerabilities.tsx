import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import type { Artifact, Vulnerability, VulnerabilityReport } from "../../api/types";
import { LogModal } from "../../components/dialogs";
import { Paged } from "../../components/paged";
import { DataTable } from "../../components/table";
import { Await, Card, Empty, Status, Time } from "../../components/ui";
import { useI18n } from "../../i18n";
import { FindingText } from "../scanning/finding";
import { overview, SEVERITIES, Severity, SeverityBar } from "../scanning/severity";
import { ROOT, type Where } from "./where";

export const REPORT_TYPES =
  "application/vnd.security.vulnerability.report; version=1.1, application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0";

export function Vulnerabilities({ artifact, where }: { artifact: Artifact; where: Where }) {
  const { t, word } = useI18n();
  const report = overview(artifact);
  const [filter, setFilter] = useState("");
  const [log, setLog] = useState(false);
  const done = report?.scan_status === "Success";
  const query = useQuery({
    queryKey: ["vulnerabilities", where, report?.report_id],
    enabled: done,
    queryFn: async ({ signal }) => {
      const reports = await api.get<Record<string, VulnerabilityReport>>(
        `${ROOT}/additions/vulnerabilities`,
        {
          path: where,
          headers: { "X-Accept-Vulnerabilities": REPORT_TYPES },
          signal,
        },
      );
      return Object.values(reports ?? {})[0] ?? {};
    },
  });
  if (!report) {
    return (
      <Empty title={t("Not scanned")}>
        {t("Start a scan with the button above, or let the project scan every push.")}
      </Empty>
    );
  }
  const logs = report.report_id && (
    <>
      <Button size="xs" variant="default" onClick={() => setLog(true)}>
        {t("Log")}
      </Button>
      <LogModal
        title={t("Log of the scan")}
        source={
          log
            ? {
                template: `${ROOT}/scan/{report_id}/log`,
                options: { path: { ...where, report_id: report.report_id } },
              }
            : null
        }
        live={!done && report.scan_status !== "Error"}
        onClose={() => setLog(false)}
      />
    </>
  );
  if (!done) {
    return (
      <Card title={t("Scan")}>
        <Group>
          <Status value={report.scan_status} />
          {report.complete_percent !== undefined && <Text size="sm">{report.complete_percent} %</Text>}
          {logs}
        </Group>
      </Card>
    );
  }
  const words = filter.toLowerCase();
  return (
    <Await query={query}>
      {(found) => {
        const all = found.vulnerabilities ?? [];
        const rank = (item: Vulnerability) =>
          SEVERITIES.indexOf(item.severity as (typeof SEVERITIES)[number]);
        const rows = all
          .filter(
            (item) => !words || `${item.id} ${item.package} ${item.severity}`.toLowerCase().includes(words),
          )
          .sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
        return (
          <Stack gap="md">
            <Card>
              <Group justify="space-between">
                <Stack gap={6} flex={1} maw={520}>
                  <SeverityBar counts={report.summary?.summary ?? {}} />
                  <Group gap="md">
                    {SEVERITIES.filter((name) => report.summary?.summary?.[name]).map((name) => (
                      <span key={name} className="sev">
                        <i className={`sev-${name.toLowerCase()}`} aria-hidden />
                        {report.summary?.summary?.[name]} {word(name)}
                      </span>
                    ))}
                    <Text size="sm" c="dimmed">
                      {t("{n} can be fixed", { n: report.summary?.fixable ?? 0 })}
                    </Text>
                  </Group>
                </Stack>
                <Group gap="sm">
                  <Text size="sm" c="dimmed">
                    {[found.scanner?.name ?? report.scanner?.name, found.scanner?.version]
                      .filter(Boolean)
                      .join(" ")}{" "}
                    · <Time value={report.end_time ?? found.generated_at} />
                  </Text>
                  {logs}
                </Group>
              </Group>
            </Card>
            {all.length > 0 && (
              <TextInput
                type="search"
                maw={320}
                aria-label={t("Filter by CVE, package or severity")}
                placeholder={t("Filter by CVE, package or severity")}
                onChange={(event) => setFilter(event.currentTarget.value)}
              />
            )}
            <Paged rows={rows}>
              {(part) => (
                <DataTable
                  label={t("Vulnerabilities")}
                  list={{ rows: part }}
                  rowKey={(row) => `${row.id} ${row.package} ${row.version}`}
                  empty={<Empty title={all.length ? t("Nothing matches") : t("No vulnerabilities")} />}
                  expand={(row) => <FindingText text={row.description} links={row.links} />}
                  columns={[
                    { title: "CVE", cell: (row) => <b>{row.id}</b> },
                    { title: t("Severity"), cell: (row) => <Severity value={row.severity} /> },
                    { title: "CVSS", cell: (row) => row.preferred_cvss?.score_v3 || "–" },
                    { title: t("Package"), cell: (row) => row.package },
                    { title: t("Version"), cell: (row) => <code>{row.version}</code> },
                    {
                      title: t("Fixed in"),
                      cell: (row) =>
                        row.fix_version ? <code>{row.fix_version}</code> : <Text c="dimmed">–</Text>,
                    },
                  ]}
                />
              )}
            </Paged>
          </Stack>
        );
      }}
    </Await>
  );
}
