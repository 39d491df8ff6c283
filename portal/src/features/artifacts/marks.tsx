// What a list says of an artifact in few words: its tags, signatures and SBOM.
import { Anchor, Badge, Group, Text, Tooltip } from "@mantine/core";
import { FileText, Lock, ShieldCheck } from "lucide-react";
import { Link } from "react-router";
import type { Artifact } from "../../api/types";
import { Status } from "../../components/ui";
import { useI18n } from "../../i18n";

/** The newest tags; each leads to the artifact under its name. */
export function Tags({
  artifact,
  to,
  most = 3,
}: {
  artifact: Artifact;
  to: (tag: string) => string;
  most?: number;
}) {
  const { t } = useI18n();
  const tags = artifact.tags ?? [];
  return (
    <Group gap={6} className="tags">
      {tags.slice(0, most).map((tag) => (
        <Anchor key={tag.id} component={Link} to={to(tag.name)} className="tag" title={tag.name} fw={600}>
          {tag.immutable && <Lock size={11} aria-label={t("Immutable")} />}
          <span>{tag.name}</span>
        </Anchor>
      ))}
      {tags.length > most && (
        <Tooltip
          label={
            tags
              .slice(most, most + 30)
              .map((tag) => tag.name)
              .join(", ") + (tags.length > most + 30 ? " …" : "")
          }
          multiline
          maw={400}
        >
          <Text size="xs" c="dimmed" className="nowrap">
            {t("and {n} more", { n: tags.length - most })}
          </Text>
        </Tooltip>
      )}
    </Group>
  );
}

export const isSignature = (type: string) => type.startsWith("signature.");

export function Signed({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const kinds = [
    ...new Set(
      (artifact.accessories ?? [])
        .filter((item) => isSignature(item.type))
        .map((item) => item.type.split(".")[1]),
    ),
  ];
  if (!kinds.length) return <Text c="dimmed">–</Text>;
  return (
    <Badge
      color="teal"
      variant="light"
      tt="none"
      leftSection={<ShieldCheck size={12} aria-hidden />}
      title={t("Signed")}
    >
      {kinds.join(", ")}
    </Badge>
  );
}

export function HasSbom({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const status = artifact.sbom_overview?.scan_status;
  const attached = (artifact.accessories ?? []).some((item) => item.type.startsWith("sbom"));
  if (artifact.sbom_overview?.sbom_digest || attached || status === "Success") {
    return (
      <Badge color="blue" variant="light" tt="none" leftSection={<FileText size={12} aria-hidden />}>
        {t("SBOM")}
      </Badge>
    );
  }
  return status ? <Status value={status} /> : <Text c="dimmed">–</Text>;
}
