import { Group, Stack, Text, Tooltip } from "@mantine/core";
import type { Artifact, ScanReportSummary, SecuritySummary } from "../../api/types";
import { Card, finished, Status } from "../../components/ui";
import { useI18n } from "../../i18n";

export const SEVERITIES = ["Critical", "High", "Medium", "Low", "None", "Unknown"] as const;

export function Severity({ value }: { value: string }) {
  const { word } = useI18n();
  return (
    <span className="sev">
      <i className={`sev-${value.toLowerCase()}`} aria-hidden />
      {word(value)}
    </span>
  );
}

export function SeverityBar({ counts }: { counts: Record<string, number> }) {
  const { word } = useI18n();
  const present = SEVERITIES.filter((name) => counts[name]);
  const total = present.reduce((sum, name) => sum + counts[name], 0);
  const text = present.map((name) => `${word(name)}: ${counts[name]}`).join(", ");
  return (
    <Tooltip label={text} disabled={!text}>
      <div className="sevbar" role="img" aria-label={text || "0"}>
        {present.map((name) => (
          <span
            key={name}
            className={`sev-${name.toLowerCase()}`}
            style={{ width: `${(100 * counts[name]) / total}%` }}
          />
        ))}
      </div>
    </Tooltip>
  );
}

/** What all scans found, as a bar and in numbers. */
export function BySeverity({ summary }: { summary: SecuritySummary }) {
  const { t, word } = useI18n();
  const counts: Record<string, number> = {
    Critical: summary.critical_cnt ?? 0,
    High: summary.high_cnt ?? 0,
    Medium: summary.medium_cnt ?? 0,
    Low: summary.low_cnt ?? 0,
    None: summary.none_cnt ?? 0,
    Unknown: summary.unknown_cnt ?? 0,
  };
  return (
    <Card title={t("By severity")}>
      <Stack gap="sm">
        <SeverityBar counts={counts} />
        <Group gap="lg">
          {SEVERITIES.map((name) => (
            <span className="sev" key={name}>
              <i className={`sev-${name.toLowerCase()}`} aria-hidden />
              {word(name)} <b>{counts[name]}</b>
            </span>
          ))}
        </Group>
      </Stack>
    </Card>
  );
}

export function overview(artifact: Artifact): ScanReportSummary | undefined {
  return artifact.scan_overview ? Object.values(artifact.scan_overview)[0] : undefined;
}

/** One line on what the last scan of an artifact found. */
export function ScanResult({ artifact }: { artifact: Artifact }) {
  const { t, word } = useI18n();
  const report = overview(artifact);
  if (!report) {
    return (
      <Text size="sm" c="dimmed">
        {t("Not scanned")}
      </Text>
    );
  }
  if (!finished(report.scan_status) || report.scan_status !== "Success") {
    return <Status value={report.scan_status} />;
  }
  const total = report.summary?.total ?? 0;
  if (!total) {
    return (
      <Text size="sm" c="dimmed">
        {t("No vulnerabilities")}
      </Text>
    );
  }
  return (
    <Group gap={8} wrap="nowrap">
      <SeverityBar counts={report.summary?.summary ?? {}} />
      <Text size="sm" className="nowrap">
        {total} · {word(report.severity)}
      </Text>
    </Group>
  );
}
