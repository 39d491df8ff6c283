// Small pieces that every page uses: titles, states, badges, times, digests.
import {
  ActionIcon,
  Alert,
  Anchor,
  Badge,
  Box,
  Breadcrumbs,
  Button,
  Code,
  Group,
  Loader,
  Stack,
  Text,
  Title,
} from "@mantine/core";
import { CircleAlert, Copy, CopyCheck, Inbox, RotateCw } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link } from "react-router";
import { ApiError } from "../api/client";
import { useErrorText } from "../hooks";
import { useI18n } from "../i18n";
import { copyText } from "../lib/clipboard";
import { dateTime, isTime, relative, shortDigest } from "../lib/format";
import { usePreference } from "../lib/preferences";

export interface Crumb {
  label: string;
  to?: string;
}

export function Page(props: {
  title: string;
  description?: ReactNode;
  crumbs?: Crumb[];
  badges?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  const { t } = useI18n();
  useEffect(() => {
    document.title = `${props.title} · Seawall`;
  }, [props.title]);
  return (
    <Stack gap="md">
      {props.crumbs && (
        <nav aria-label={t("Breadcrumb")}>
          <Breadcrumbs separator="/" separatorMargin={6}>
            {props.crumbs.map((crumb) =>
              crumb.to ? (
                <Anchor key={crumb.label} component={Link} to={crumb.to} size="sm">
                  {crumb.label}
                </Anchor>
              ) : (
                <Text key={crumb.label} size="sm" c="dimmed">
                  {crumb.label}
                </Text>
              ),
            )}
          </Breadcrumbs>
        </nav>
      )}
      <Group justify="space-between" align="flex-start" wrap="wrap">
        <Box>
          <Group gap="sm">
            <Title order={1} size="h2" className="page-title">
              {props.title}
            </Title>
            {props.badges}
          </Group>
          {props.description && (
            <Text c="dimmed" size="sm" mt={4} className="wrap">
              {props.description}
            </Text>
          )}
        </Box>
        {props.actions && <Group gap="xs">{props.actions}</Group>}
      </Group>
      {props.children}
    </Stack>
  );
}

export function Loading() {
  const { t } = useI18n();
  return (
    <Group justify="center" p="xl" role="status" aria-label={t("Loading")}>
      <Loader size="sm" />
    </Group>
  );
}

export function Empty(props: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Stack align="center" gap="xs" py={48} px="md" className="empty">
      <Inbox size={36} strokeWidth={1.3} aria-hidden />
      <Text fw={600}>{props.title}</Text>
      {props.children && (
        <Text size="sm" c="dimmed" ta="center" maw={480} component="div">
          {props.children}
        </Text>
      )}
      {props.action}
    </Stack>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => unknown }) {
  const { t } = useI18n();
  const text = useErrorText();
  const known = error instanceof ApiError ? error : null;
  const title =
    known?.status === 403
      ? t("No permission")
      : known?.status === 404
        ? t("Not found")
        : known?.status === 401
          ? t("Please sign in")
          : t("This could not be loaded");
  return (
    <Alert
      color="red"
      variant="light"
      icon={<CircleAlert size={18} aria-hidden />}
      title={title}
      role="alert"
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{text(error)}</Text>
        {known?.requestId && (
          <Text size="xs" c="dimmed">
            {t("Request")} <Code>{known.requestId}</Code>
          </Text>
        )}
        {retry && (
          <Button
            size="xs"
            variant="default"
            leftSection={<RotateCw size={14} aria-hidden />}
            onClick={() => retry()}
          >
            {t("Try again")}
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** Shows what a query has: loading, its error with a way to retry, or the thing itself. */
export function Await<T>(props: {
  query: { data: T | undefined; error: unknown; refetch: () => unknown };
  children: (data: T) => ReactNode;
}) {
  if (props.query.data !== undefined) return <>{props.children(props.query.data)}</>;
  if (props.query.error) return <Failure error={props.query.error} retry={props.query.refetch} />;
  return <Loading />;
}

export function Time({ value }: { value?: string | null }) {
  const { language } = useI18n();
  const [dates] = usePreference("dates");
  if (!isTime(value)) return <span>–</span>;
  return (
    <time dateTime={value} title={dateTime(value, language, true)} className="nowrap">
      {dates === "relative"
        ? relative(value, language)
        : dates === "iso"
          ? new Date(value).toISOString().slice(0, 19).concat("Z")
          : dateTime(value, language)}
    </time>
  );
}

export function DateTime({ value, seconds }: { value?: string | number | null; seconds?: boolean }) {
  const { language } = useI18n();
  return <span className="nowrap">{dateTime(value, language, seconds)}</span>;
}

export function CopyIcon({ value, label }: { value: string; label?: string }) {
  const { t } = useI18n();
  const [state, setState] = useState<"" | "copied" | "failed">("");
  const timer = useRef<number>(undefined);
  const name = label ?? t("Copy");
  const said = state === "copied" ? t("Copied") : state === "failed" ? t("Select the text and copy it") : "";
  return (
    <span className="copy">
      <ActionIcon
        variant="subtle"
        color={state === "copied" ? "teal" : state === "failed" ? "red" : "gray"}
        size="sm"
        aria-label={name}
        title={name}
        onClick={async (event) => {
          setState((await copyText(value, event.currentTarget)) ? "copied" : "failed");
          window.clearTimeout(timer.current);
          timer.current = window.setTimeout(() => setState(""), 2000);
        }}
      >
        {state === "copied" ? <CopyCheck size={14} aria-hidden /> : <Copy size={14} aria-hidden />}
      </ActionIcon>
      <span className={said ? "bubble" : undefined} aria-live="polite">
        {said}
      </span>
    </span>
  );
}

export function Copyable({
  value,
  label,
  children,
}: {
  value: string;
  label?: string;
  children?: ReactNode;
}) {
  return (
    <Group gap={4} wrap="nowrap" className="copyable">
      {children}
      <CopyIcon value={value} label={label} />
    </Group>
  );
}

/** A command to copy whole. */
export function Command({ value }: { value: string }) {
  return (
    <Copyable value={value}>
      <Code block className="command">
        {value}
      </Code>
    </Copyable>
  );
}

export function Digest({ value, to }: { value: string; to?: string }) {
  const { t } = useI18n();
  return (
    <Copyable value={value} label={t("Copy digest")}>
      {to ? (
        <Anchor component={Link} to={to} ff="monospace" size="sm" title={value}>
          {shortDigest(value)}
        </Anchor>
      ) : (
        <Text ff="monospace" size="sm" title={value}>
          {shortDigest(value)}
        </Text>
      )}
    </Copyable>
  );
}

const STATUS: Record<string, string> = {
  success: "teal",
  succeed: "teal",
  succeeded: "teal",
  healthy: "teal",
  ok: "teal",
  ready: "teal",
  active: "teal",
  alive: "teal",
  pass: "teal",
  passed: "teal",
  running: "blue",
  inprogress: "blue",
  in_progress: "blue",
  standby: "blue",
  reachable: "teal",
  following: "teal",
  carried: "teal",
  same: "gray",
  kept: "blue",
  listed: "orange",
  refused: "red",
  snapshot: "blue",
  paused: "orange",
  away: "red",
  fenced: "red",
  pending: "gray",
  scheduled: "gray",
  stopped: "orange",
  warning: "orange",
  warn: "orange",
  draining: "orange",
  degraded: "orange",
  error: "red",
  failed: "red",
  fail: "red",
  unhealthy: "red",
  dead: "red",
};

export function Status({ value, title }: { value?: string | null; title?: string }) {
  const { word } = useI18n();
  if (!value) return <span>–</span>;
  const color = STATUS[value.toLowerCase()] ?? "gray";
  return (
    <Badge color={color} variant="light" title={title} className="status" data-status={value}>
      {word(value)}
    </Badge>
  );
}

export const FINISHED = ["success", "succeed", "succeeded", "error", "failed", "stopped", "finished"];
export const finished = (status?: string) => FINISHED.includes((status ?? "").toLowerCase());
/** How often to ask for the tasks of an execution: until it has ended and, by the last answer, all of them have. */
export const untilFinished =
  (execution: { status?: string }) =>
  (query: { state: { data?: { rows: { status?: string }[] } } }): number | false =>
    finished(execution.status) && query.state.data?.rows.every((row) => finished(row.status)) ? false : 2000;

export function YesNo({ value }: { value: unknown }) {
  const { t } = useI18n();
  return <span>{value === true || value === "true" ? t("Yes") : t("No")}</span>;
}

export function Enabled({ value }: { value: unknown }) {
  const { t } = useI18n();
  return (
    <Badge color={value ? "teal" : "gray"} variant="light" tt="none">
      {value ? t("Enabled") : t("Disabled")}
    </Badge>
  );
}

export function Card({ title, children, right }: { title?: string; children: ReactNode; right?: ReactNode }) {
  return (
    <section className="card">
      {title && (
        <Group justify="space-between" mb="sm">
          <Title order={2} size="h5" className="wrap">
            {title}
          </Title>
          {right}
        </Group>
      )}
      {children}
    </section>
  );
}

/** A short list of what a query has, one line for each, or that there is none. */
export function ShortList<T>(props: {
  query: { data: T[] | undefined; error: unknown; refetch: () => unknown };
  none: string;
  rowKey: (row: T) => string | number;
  children: (row: T) => ReactNode;
}) {
  return (
    <Await query={props.query}>
      {(rows) =>
        rows.length ? (
          <ul className="plain">
            {rows.map((row) => (
              <li key={props.rowKey(row)}>{props.children(row)}</li>
            ))}
          </ul>
        ) : (
          <Text size="sm" c="dimmed">
            {props.none}
          </Text>
        )
      }
    </Await>
  );
}

/** Names and values side by side. */
export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
