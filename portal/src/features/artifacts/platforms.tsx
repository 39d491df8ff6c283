import { Text } from "@mantine/core";
import type { Artifact, Project } from "../../api/types";
import { DataTable } from "../../components/table";
import { Digest } from "../../components/ui";
import { useI18n } from "../../i18n";
import { artifactPath } from "../repositories/names";

export function Platforms(props: { artifact: Artifact; project: Project; repository: string }) {
  const { t } = useI18n();
  return (
    <DataTable
      label={t("Platforms")}
      list={{ rows: props.artifact.references ?? [] }}
      rowKey={(row) => row.child_digest}
      empty={null}
      columns={[
        {
          title: t("Artifact"),
          cell: (row) => (
            <Digest
              value={row.child_digest}
              to={artifactPath(props.project.project_id, props.repository, row.child_digest)}
            />
          ),
        },
        {
          title: t("Platform"),
          cell: (row) =>
            [row.platform?.os, row.platform?.architecture, row.platform?.variant].filter(Boolean).join("/") ||
            "–",
        },
        {
          title: t("Annotations"),
          cell: (row) => (
            <Text size="xs" c="dimmed">
              {Object.entries(row.annotations ?? {})
                .map(([name, value]) => `${name}=${value}`)
                .join(", ") || "–"}
            </Text>
          ),
        },
      ]}
    />
  );
}
