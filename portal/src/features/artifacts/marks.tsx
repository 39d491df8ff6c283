import { Badge, Group, Text, Tooltip } from "@mantine/core";
import { Lock, ShieldCheck } from "lucide-react";
import type { Artifact } from "../../api/types";
import { useI18n } from "../../i18n";

export function Tags({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const tags = artifact.tags ?? [];
  if (!tags.length) return <Text c="dimmed">–</Text>;
  return (
    <Group gap={4}>
      {tags.slice(0, 4).map((tag) => (
        <Badge
          key={tag.id}
          variant="default"
          tt="none"
          fw={500}
          leftSection={tag.immutable ? <Lock size={10} aria-label={t("Immutable")} /> : undefined}
        >
          {tag.name}
        </Badge>
      ))}
      {tags.length > 4 && (
        <Tooltip label={tags.map((tag) => tag.name).join(", ")} multiline maw={400}>
          <Badge variant="light" color="gray" tt="none">
            +{tags.length - 4}
          </Badge>
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
