// Language and colours, for pages that have not loaded the frame. Made of little: they are part of the first load.
import { ActionIcon, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { Moon, Sun } from "lucide-react";
import { LANGUAGES, type Language, useI18n } from "../i18n";

export function LanguageSelect() {
  const { language, setLanguage, t } = useI18n();
  return (
    <select
      className="language"
      aria-label={t("Language")}
      value={language}
      onChange={(event) => setLanguage(event.currentTarget.value as Language)}
    >
      {(Object.keys(LANGUAGES) as Language[]).map((code) => (
        <option key={code} value={code} lang={code}>
          {LANGUAGES[code]}
        </option>
      ))}
    </select>
  );
}

export function SchemeButton({ color }: { color?: string }) {
  const { t } = useI18n();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");
  const label = scheme === "dark" ? t("Light mode") : t("Dark mode");
  return (
    <ActionIcon
      variant="transparent"
      color={color ?? "white"}
      size="lg"
      aria-label={label}
      title={label}
      onClick={() => setColorScheme(scheme === "dark" ? "light" : "dark")}
    >
      {scheme === "dark" ? <Sun size={18} aria-hidden /> : <Moon size={18} aria-hidden />}
    </ActionIcon>
  );
}
