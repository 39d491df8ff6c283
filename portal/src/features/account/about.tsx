import { Anchor, Modal, Stack, Text } from "@mantine/core";
import { BASE } from "../../api/client";
import { Facts } from "../../components/ui";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";

export function About({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const { info } = useSession();
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("About Seawall")}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <Stack gap="sm">
        <Text size="sm">
          {t(
            "A highly available registry for images, charts and every other OCI artifact, with Harbor's API.",
          )}
        </Text>
        <Facts
          items={[
            [t("Version of the API"), info.harbor_version ?? "–"],
            [t("Registry address"), info.registry_url ?? "–"],
            [t("How people sign in"), info.auth_mode ?? "–"],
          ]}
        />
        <Anchor href={`${BASE}/openapi.json`} size="sm">
          {t("OpenAPI document")}
        </Anchor>
      </Stack>
    </Modal>
  );
}
