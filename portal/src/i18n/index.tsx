// English texts are the keys; a language is a dictionary from them. A text missing from a dictionary
// is a type error, so the build fails rather than a page showing two languages.
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import type { zh } from "./zh";

export type Text = keyof typeof zh;
/** The languages, each by its own name. */
export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  ja: "日本語",
  ko: "한국어",
  "pt-BR": "Português (Brasil)",
  tr: "Türkçe",
  zh: "简体中文",
  "zh-TW": "繁體中文",
} as const;
export type Language = keyof typeof LANGUAGES;
type Dictionary = Record<Text, string>;
const DICTIONARIES: Record<Exclude<Language, "en">, () => Promise<Dictionary>> = {
  de: () => import("./de").then((module) => module.de),
  es: () => import("./es").then((module) => module.es),
  fr: () => import("./fr").then((module) => module.fr),
  ja: () => import("./ja").then((module) => module.ja),
  ko: () => import("./ko").then((module) => module.ko),
  "pt-BR": () => import("./pt-BR").then((module) => module.ptBR),
  tr: () => import("./tr").then((module) => module.tr),
  zh: () => import("./zh").then((module) => module.zh),
  "zh-TW": () => import("./zh-TW").then((module) => module.zhTW),
};
/** What a page says of its language (BCP 47). */
const TAGS: Partial<Record<Language, string>> = { zh: "zh-CN" };
type Values = Record<string, string | number>;
export type Translate = (text: Text, values?: Values) => string;

interface I18n {
  language: Language;
  setLanguage: (language: Language) => void;
  t: Translate;
  /** For words that come from the server: translated when known, else as they are. */
  word: (text: string | null | undefined) => string;
}

/** What the server's own words are in English, where they are not English already. */
const WORDS: Record<string, string> = {
  PUSH_ARTIFACT: "Artifact pushed",
  PULL_ARTIFACT: "Artifact pulled",
  DELETE_ARTIFACT: "Artifact deleted",
  SCANNING_COMPLETED: "Scan finished",
  SCANNING_FAILED: "Scan failed",
  SCANNING_STOPPED: "Scan stopped",
  QUOTA_EXCEED: "Quota exceeded",
  QUOTA_WARNING: "Quota nearly used up",
  REPLICATION: "Replication",
  TAG_RETENTION: "Tag retention",
  TOKEN_EXPIRING: "Token expires soon",
  cve_id: "CVE",
  severity: "Severity",
  cvss_score_v3: "CVSS 3 score",
  repository_name: "Repository",
  project_id: "Project ID",
  package: "Package",
  tag: "Tag",
  digest: "Digest",
};

const Context = createContext<I18n | null>(null);

function initial(): Language {
  const stored = localStorage.getItem("seawall-language");
  if (stored && stored in LANGUAGES) return stored as Language;
  for (const wanted of navigator.languages) {
    if (/^zh-(tw|hk|mo|hant)/i.test(wanted)) return "zh-TW";
    if (/^pt\b/i.test(wanted)) return "pt-BR";
    const code = wanted.toLowerCase().split("-")[0];
    if (code in LANGUAGES) return code as Language;
  }
  return "en";
}

// Text that runs from right to left is set apart (U+2068, U+2069): else it would turn what stands around it.
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const apart = (value: string) => (RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : value);

function fill(text: string, values?: Values) {
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => apart(String(values[name] ?? whole))) : text;
}

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, choose] = useState<Language>(initial);
  const [dictionary, setDictionary] = useState<Record<string, string> | null>(null);

  useEffect(() => {
    document.documentElement.lang = TAGS[language] ?? language;
    let stale = false;
    if (language === "en") setDictionary(null);
    // A dictionary that does not come leaves English: texts that can be read are better than none.
    else {
      DICTIONARIES[language]()
        .catch(() => DICTIONARIES[language]())
        .catch(() => ({}))
        .then((found) => !stale && setDictionary(found));
    }
    return () => {
      stale = true;
    };
  }, [language]);

  const setLanguage = useCallback((next: Language) => {
    localStorage.setItem("seawall-language", next);
    choose(next);
  }, []);

  const value = useMemo<I18n>(
    () => ({
      language,
      setLanguage,
      t: (text, values) => fill(dictionary?.[text] ?? text, values),
      word: (text) => (text ? ((dictionary ?? WORDS)[text] ?? text) : ""),
    }),
    [language, dictionary, setLanguage],
  );
  if (language !== "en" && !dictionary) return null;
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useI18n() {
  const value = useContext(Context);
  if (!value) throw new Error("useI18n outside I18nProvider");
  return value;
}
export const useT = () => useI18n().t;
