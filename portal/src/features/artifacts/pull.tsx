import { Button, Popover, Stack, Text } from "@mantine/core";
import { Terminal } from "lucide-react";
import type { Artifact } from "../../api/types";
import { Command } from "../../components/ui";
import { useI18n } from "../../i18n";
import { usePreference } from "../../lib/preferences";
import { pullCommands } from "./commands";

export function PullButton(props: { artifact: Artifact; host: string; repository: string; wide?: boolean }) {
  const { t } = useI18n();
  const { artifact, host, repository } = props;
  const tag = artifact.tags?.[0]?.name;
  const commands = pullCommands(
    artifact.type ?? "",
    host,
    repository,
    tag,
    tag ? undefined : artifact.digest,
  );
  const byDigest = pullCommands(artifact.type ?? "", host, repository, undefined, artifact.digest);
  const [client] = usePreference("client");
  // The client that the person uses comes first.
  const preferred = (list: string[][]) =>
    [...list].sort((a, b) => Number(b[0] === client) - Number(a[0] === client));
  return (
    <Popover position="bottom-start" width={580} trapFocus withArrow>
      <Popover.Target>
        <Button
          size={props.wide ? "sm" : "compact-xs"}
          variant={props.wide ? "default" : "subtle"}
          color="gray"
          aria-label={t("Pull command")}
          leftSection={props.wide ? <Terminal size={16} aria-hidden /> : undefined}
        >
          {props.wide ? t("Pull command") : <Terminal size={14} aria-hidden />}
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="sm">
          {preferred(commands.length ? commands : byDigest).map(([client, command]) => (
            <div key={client}>
              <Text size="xs" fw={600} mb={2}>
                {client}
              </Text>
              <Command value={command} />
            </div>
          ))}
          {tag && byDigest.length > 0 && (
            <div>
              <Text size="xs" fw={600} mb={2}>
                {t("By digest")}
              </Text>
              <Command value={preferred(byDigest)[0][1]} />
            </div>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
