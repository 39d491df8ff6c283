import { Group, Text } from "@mantine/core";
import type { Artifact, Project } from "../../api/types";
import { DataTable } from "../../components/table";
import { Digest } from "../../components/ui";
import { useI18n } from "../../i18n";
import { artifactPath } from "../repositories/names";
import { attests, isAttestation, platformOf } from "./kind";

/** The images of an index, each with the attestations that an index lists next to it. */
export function Parts(props: { artifact: Artifact; project: Project; repository: string }) {
  const { t } = useI18n();
  const all = props.artifact.references ?? [];
  const images = all.filter((item) => !isAttestation(item));
  // An attestation of an image that is not in this index stands for itself.
  const alone = all.filter(
    (item) => isAttestation(item) && !images.some((image) => image.child_digest === attests(item)),
  );
  const link = (digest: string) => artifactPath(props.project.project_id, props.repository, digest);
  return (
    <DataTable
      label={t("Platforms")}
      list={{ rows: [...images, ...alone] }}
      rowKey={(row) => row.child_digest}
      empty={null}
      columns={[
        {
          title: t("Platform"),
          cell: (row) => (isAttestation(row) ? t("Attestation") : platformOf(row) || "–"),
        },
        {
          title: t("Artifact"),
          cell: (row) => <Digest value={row.child_digest} to={link(row.child_digest)} />,
        },
        {
          title: t("Attestations"),
          cell: (row) => {
            const found = all.filter((item) => attests(item) === row.child_digest);
            if (!found.length || isAttestation(row)) return "–";
            return (
              <Group gap={8}>
                {found.map((item) => (
                  <Digest key={item.child_digest} value={item.child_digest} to={link(item.child_digest)} />
                ))}
              </Group>
            );
          },
        },
        {
          title: t("Annotations"),
          cell: (row) => (
            <Text size="xs" c="dimmed" className="wrap">
              {Object.entries(row.annotations ?? {})
                .filter(([name]) => !name.startsWith("vnd.docker.reference."))
                .map(([name, value]) => `${name}=${value}`)
                .join(", ") || "–"}
            </Text>
          ),
        },
      ]}
    />
  );
}
