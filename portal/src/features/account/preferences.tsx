// What this browser remembers for the person who uses it: language, colours, dates, the client of pull commands.
import { Modal, NativeSelect, SegmentedControl, Stack, Text, useMantineColorScheme } from "@mantine/core";
import { LANGUAGES, type Language, useI18n } from "../../i18n";
import { usePreference } from "../../lib/preferences";
import { IMAGE_CLIENTS } from "../artifacts/commands";

export function Preferences({ onClose }: { onClose: () => void }) {
  const { t, language, setLanguage } = useI18n();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const [dates, setDates] = usePreference("dates");
  const [client, setClient] = usePreference("client");
  return (
    <Modal opened onClose={onClose} title={t("Preferences")} closeButtonProps={{ "aria-label": t("Close") }}>
      <Stack>
        <Text size="sm" c="dimmed">
          {t("Kept in this browser.")}
        </Text>
        <NativeSelect
          label={t("Language")}
          value={language}
          onChange={(event) => setLanguage(event.currentTarget.value as Language)}
          data={Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
        />
        <div>
          <Text size="sm" fw={500} mb={4}>
            {t("Colours")}
          </Text>
          <SegmentedControl
            aria-label={t("Colours")}
            value={colorScheme}
            onChange={(value) => setColorScheme(value as "auto" | "light" | "dark")}
            data={[
              { value: "auto", label: t("As the system") },
              { value: "light", label: t("Light") },
              { value: "dark", label: t("Dark") },
            ]}
          />
        </div>
        <NativeSelect
          label={t("Dates")}
          value={dates}
          onChange={(event) => setDates(event.currentTarget.value)}
          data={[
            { value: "relative", label: t("Relative: 3 hours ago") },
            { value: "local", label: t("Date and time") },
            { value: "iso", label: "ISO 8601 (UTC)" },
          ]}
        />
        <NativeSelect
          label={t("Client of pull commands")}
          value={client}
          onChange={(event) => setClient(event.currentTarget.value)}
          data={[...IMAGE_CLIENTS]}
        />
      </Stack>
    </Modal>
  );
}
