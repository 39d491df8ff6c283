const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes as people read them; -1 is Harbor's "no limit". */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  let unit = 0;
  let rest = value;
  while (Math.abs(rest) >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(rest >= 10 ? 1 : 2)} ${UNITS[unit]}`;
}

/** The locale of dates and numbers; English dates name the day first, as ISO 8601 has no month names. */
const localeOf = (language: string) => (language === "en" ? "en-GB" : language === "zh" ? "zh-CN" : language);

/** A time that was never reached comes as null or as year 1 from Go-minded APIs. */
export function isTime(value: string | null | undefined): value is string {
  return !!value && !value.startsWith("0001-01-01");
}

export function dateTime(
  value: string | number | null | undefined,
  language: string,
  seconds = false,
): string {
  if (typeof value === "string" && !isTime(value)) return "–";
  if (value === null || value === undefined) return "–";
  const date = new Date(value);
  if (Number.isNaN(date.valueOf())) return String(value);
  return new Intl.DateTimeFormat(localeOf(language), {
    dateStyle: "medium",
    timeStyle: seconds ? "medium" : "short",
  }).format(date);
}

/** A day of the calendar, whatever the time zone. */
export function day(value: string, language: string): string {
  return new Intl.DateTimeFormat(localeOf(language), { dateStyle: "medium", timeZone: "UTC" }).format(
    new Date(value),
  );
}

export function relative(value: string | null | undefined, language: string): string {
  if (!isTime(value)) return "–";
  const seconds = (new Date(value).valueOf() - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat(localeOf(language), { numeric: "auto" });
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ["year", 31557600],
    ["month", 2629800],
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];
  for (const [unit, size] of steps) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return format.format(Math.min(0, Math.trunc(seconds)), "second");
}

export function duration(start?: string | null, end?: string | null): string {
  if (!isTime(start)) return "–";
  const until = isTime(end) ? new Date(end).valueOf() : Date.now();
  const seconds = Math.max(0, Math.round((until - new Date(start).valueOf()) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export function shortDigest(digest: string): string {
  const [algorithm, hex] = digest.split(":");
  return hex ? `${algorithm}:${hex.slice(0, 12)}` : digest;
}

/** Harbor's q: `name=~x,public=true`. Commas and such in values would end the term. */
export function q(terms: Record<string, string | number | boolean | undefined | null>): string | undefined {
  const parts = Object.entries(terms)
    .filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== "=~")
    .map(([name, value]) => `${name}=${value}`);
  return parts.length ? parts.join(",") : undefined;
}
export const like = (value: string) => (value ? `~${value.replaceAll(",", " ")}` : undefined);

/** `target` when it is a path of this site: a full address would send people elsewhere after they sign in. */
export const localPath = (target: string | null, otherwise = "/harbor/projects") =>
  target && target !== "/" && /^\/(?![/\\])/.test(target) ? target : otherwise;

/** A span of seconds as people say it: 0.4 s, 12 s, 3 min, 5 h, 2 d. */
export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86_400)} d`;
}
