import { Group, Text, Tooltip } from "@mantine/core";
import type { Artifact, ScanReportSummary } from "../../api/types";
import { finished, Status } from "../../components/ui";
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
