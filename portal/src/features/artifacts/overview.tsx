import { Group } from "@mantine/core";
import type { ReactNode } from "react";
import type { Artifact } from "../../api/types";
import { Card, DateTime, Digest, Facts, Status, Time } from "../../components/ui";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { LabelChip } from "../labels/chip";
import { overview } from "../scanning/severity";

export function Overview({ artifact, labels }: { artifact: Artifact; labels?: ReactNode }) {
  const { t } = useI18n();
  const extra = artifact.extra_attrs ?? {};
  const platform = [extra.os, extra.architecture].filter((part) => typeof part === "string").join("/");
  const report = overview(artifact);
  return (
    <Card title={t("Overview")} right={labels}>
      <Facts
        items={[
          [t("Digest"), <Digest key="d" value={artifact.digest} />],
          [t("Media type"), artifact.manifest_media_type ?? artifact.media_type ?? "–"],
          ...(artifact.artifact_type
            ? ([[t("Artifact type"), artifact.artifact_type]] as [string, string][])
            : []),
          ...(platform ? ([[t("Platform"), platform]] as [string, string][]) : []),
          [t("Size"), bytes(artifact.size)],
          [t("Pushed"), <DateTime key="p" value={artifact.push_time} />],
          [t("Pulled"), <Time key="l" value={artifact.pull_time} />],
          [
            t("Labels"),
            artifact.labels?.length ? (
              <Group gap={8} key="b">
                {artifact.labels.map((label) => (
                  <LabelChip key={label.id} label={label} />
                ))}
              </Group>
            ) : (
              "–"
            ),
          ],
          [t("Last scan"), report ? <Status key="s" value={report.scan_status} /> : t("Not scanned")],
        ]}
      />
    </Card>
  );
}
