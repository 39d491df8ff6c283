import { Anchor, Stack, Text } from "@mantine/core";
import { useI18n } from "../../i18n";

/** What is known of one finding: its description, and where more is. */
export function FindingText({ text, links }: { text?: string | null; links?: string[] | null }) {
  const { t } = useI18n();
  return (
    <Stack gap={6}>
      <Text size="sm" className="markdown">
        {text || t("No description.")}
      </Text>
      {links?.map((link) => (
        <Anchor key={link} href={link} size="sm" target="_blank" rel="noreferrer noopener">
          {link}
        </Anchor>
      ))}
    </Stack>
  );
}
