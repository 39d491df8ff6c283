import { Text } from "@mantine/core";
import type { Artifact } from "../../api/types";
import { Card, Facts } from "../../components/ui";
import { useI18n } from "../../i18n";
import { dateTime } from "../../lib/format";

export function Details({ artifact }: { artifact: Artifact }) {
  const { t, language } = useI18n();
  const annotations = Object.entries(artifact.annotations ?? {});
  const extra = artifact.extra_attrs ?? {};
  return (
    <div className="grid wide">
      <Card title={t("Annotations")}>
        {annotations.length ? (
          <Facts items={annotations.map(([name, value]) => [name, String(value)])} />
        ) : (
          <Text size="sm" c="dimmed">
            {t("None")}
          </Text>
        )}
      </Card>
      <Card title={t("Configuration")}>
        {Object.keys(extra).length ? (
          <>
            {typeof extra.created === "string" && (
              <Text size="sm" mb="xs">
                {t("Created")}: {dateTime(extra.created, language)}
                {typeof extra.author === "string" && extra.author ? ` · ${extra.author}` : ""}
              </Text>
            )}
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
            <pre className="code-block" tabIndex={0}>
              {JSON.stringify(extra.config ?? extra, null, 2)}
            </pre>
          </>
        ) : (
          <Text size="sm" c="dimmed">
            {t("None")}
          </Text>
        )}
      </Card>
    </div>
  );
}
