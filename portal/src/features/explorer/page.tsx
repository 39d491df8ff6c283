// Every operation of the API, to read about and to try as the person who is signed in.
import {
  Anchor,
  Badge,
  Button,
  Code,
  Group,
  Stack,
  Text,
  Textarea,
  TextInput,
  UnstyledButton,
} from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { BASE, exchange, type Options, url } from "../../api/client";
import { useConfirm } from "../../components/confirm";
import { SearchInput } from "../../components/table";
import { Await, Card, Command, Empty, Failure, Page } from "../../components/ui";
import { useI18n } from "../../i18n";
import { useAddress, useFilter } from "../../lib/address";
import { useSession } from "../../session";
import { type Document, exampleOf, type Operation, operationsOf, type Parameter } from "./document";

export function Explorer() {
  const { t } = useI18n();
  const [words, setWords] = useFilter("find");
  const { get, set } = useAddress();
  const query = useQuery({
    queryKey: ["openapi"],
    queryFn: async ({ signal }) => {
      const response = await exchange("GET", "/openapi.json", { signal });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return (await response.json()) as Document;
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Page
      title={t("API explorer")}
      description={t("Requests go to this registry, with your rights, and take effect.")}
      actions={
        <Anchor href={`${BASE}/openapi.json`} size="sm">
          {t("OpenAPI document")}
        </Anchor>
      }
    >
      <Await query={query}>
        {(document) => {
          const all = operationsOf(document, BASE);
          const chosen = all.find((operation) => operation.id === get("operation"));
          const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
          const matching = all.filter((operation) =>
            parts.every((part) =>
              `${operation.id} ${operation.group} ${operation.description ?? ""}`
                .toLowerCase()
                .includes(part),
            ),
          );
          return (
            <div className="explorer">
              <Stack gap="sm">
                <SearchInput value={words} onChange={setWords} label={t("Filter operations")} w="100%" />
                <nav aria-label={t("Operations")} className="operations">
                  {[...new Set(matching.map((operation) => operation.group))].sort().map((group) => (
                    <div key={group}>
                      <Text size="xs" fw={700} c="dimmed" mt="xs" id={`group-${group}`}>
                        {group}
                      </Text>
                      <ul aria-labelledby={`group-${group}`}>
                        {matching
                          .filter((operation) => operation.group === group)
                          .map((operation) => (
                            <li key={operation.id}>
                              <UnstyledButton
                                className="operation"
                                aria-current={operation === chosen || undefined}
                                onClick={() => set({ operation: operation.id })}
                              >
                                <Method name={operation.method} /> <span>{operation.path}</span>
                              </UnstyledButton>
                            </li>
                          ))}
                      </ul>
                    </div>
                  ))}
                  {!matching.length && <Text size="sm">{t("Nothing matches")}</Text>}
                </nav>
              </Stack>
              {chosen ? (
                <Try key={chosen.id} operation={chosen} document={document} />
              ) : (
                <Empty title={t("Choose an operation")} />
              )}
            </div>
          );
        }}
      </Await>
    </Page>
  );
}

const COLOURS: Record<string, string> = { POST: "teal", PUT: "orange", PATCH: "orange", DELETE: "red" };

function Method({ name }: { name: string }) {
  return (
    <Badge variant="light" size="sm" color={COLOURS[name] ?? "blue"} className="method">
      {name}
    </Badge>
  );
}

interface Answered {
  status: string;
  ok: boolean;
  headers: [string, string][];
  body: string;
}
// What is more than this (characters) is for a file, not for a page.
const MOST = 200_000;
// An event stream has no end to wait for: what it says in this time (milliseconds) is shown.
const LISTEN = 3000;

async function beginning(body: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const timer = window.setTimeout(() => reader.cancel(), LISTEN);
  let text = "";
  while (text.length <= MOST) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  window.clearTimeout(timer);
  await reader.cancel();
  return text;
}

async function answered(response: Response): Promise<Answered> {
  const type = response.headers.get("content-type") ?? "";
  let body = "";
  if (/json|text|xml|yaml/.test(type)) {
    body =
      type.startsWith("text/event-stream") && response.body
        ? await beginning(response.body)
        : await response.text();
    try {
      body = JSON.stringify(JSON.parse(body), null, 2);
    } catch {
      // Not JSON, as it is.
    }
  } else {
    const size = (await response.arrayBuffer()).byteLength;
    if (size) body = `${type}: ${size} B`;
  }
  return {
    status: `${response.status} ${response.statusText}`.trim(),
    ok: response.ok,
    headers: [...response.headers].filter(([name]) => name !== "x-harbor-csrf-token"),
    body: body.length > MOST ? `${body.slice(0, MOST)}\n…` : body,
  };
}

function Try({ operation, document }: { operation: Operation; document: Document }) {
  const { t } = useI18n();
  const { user } = useSession();
  const confirm = useConfirm();
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  const [values, setValues] = useState<Record<string, string>>({});
  const [body, setBody] = useState(() => (schema ? exampleOf(document, schema) : ""));
  const [answer, setAnswer] = useState<Answered | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const parameters = operation.parameters ?? [];
  const given = (where: Parameter["in"]) =>
    Object.fromEntries(
      parameters
        .filter((item) => item.in === where && values[`${where} ${item.name}`])
        .map((item) => [item.name, values[`${where} ${item.name}`]]),
    );
  const request = (): Options => ({
    path: given("path"),
    query: given("query"),
    headers: given("header"),
    body: schema && body.trim() ? body : undefined,
  });
  let command = "";
  try {
    const { headers = {}, body: sent } = request();
    const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    command = [
      `curl -u ${quoted(user?.username ?? "NAME")} -X ${operation.method} ${quoted(location.origin + url(operation.path, request()))}`,
      ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
      ...(sent ? [`-H 'Content-Type: application/json' -d ${quoted(String(sent))}`] : []),
    ].join(" \\\n  ");
  } catch {
    // A part of the path is not filled in yet.
  }
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (operation.method === "DELETE") {
      const yes = await confirm({
        title: t("Send this request?"),
        body: `${operation.method} ${url(operation.path, request())}`,
        confirm: t("Send"),
        danger: true,
      });
      if (!yes) return;
    }
    setBusy(true);
    setError(null);
    try {
      setAnswer(await answered(await exchange(operation.method, operation.path, request())));
    } catch (reason) {
      setAnswer(null);
      setError(reason);
    }
    setBusy(false);
  };
  return (
    <Stack gap="md" className="explorer-try">
      <Card>
        <form onSubmit={submit}>
          <Stack gap="sm">
            <Group gap="xs">
              <Method name={operation.method} />
              <Text fw={600} ff="monospace" size="sm" className="wrap">
                {operation.path}
              </Text>
            </Group>
            <Text size="sm" className="markdown">
              {operation.description ?? operation.summary}
            </Text>
            <div className="parameters">
              {parameters.map((item) => (
                <TextInput
                  key={`${item.in} ${item.name}`}
                  label={item.name}
                  description={[item.in, item.schema?.type, item.description].filter(Boolean).join(" · ")}
                  required={item.in === "path"}
                  placeholder={item.schema?.default === undefined ? undefined : String(item.schema.default)}
                  value={values[`${item.in} ${item.name}`] ?? ""}
                  onChange={(event) =>
                    setValues({ ...values, [`${item.in} ${item.name}`]: event.currentTarget.value })
                  }
                />
              ))}
            </div>
            {schema && (
              <Textarea
                label={t("Body")}
                description={t("JSON; a null counts as left out.")}
                autosize
                minRows={3}
                maxRows={24}
                spellCheck={false}
                styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
                value={body}
                onChange={(event) => setBody(event.currentTarget.value)}
              />
            )}
            <Group>
              <Button type="submit" loading={busy} color={operation.method === "DELETE" ? "red" : undefined}>
                {t("Send")}
              </Button>
            </Group>
            {command && <Command value={command} />}
          </Stack>
        </form>
      </Card>
      {!!error && <Failure error={error} />}
      {answer && (
        <Card
          title={t("Answer")}
          right={
            <Badge color={answer.ok ? "teal" : "red"} variant="light" className="status">
              {answer.status}
            </Badge>
          }
        >
          <Stack gap="sm" aria-live="polite">
            <Code block className="command">
              {answer.headers.map(([name, value]) => `${name}: ${value}`).join("\n")}
            </Code>
            {answer.body && (
              // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
              <Code block className="command answer" tabIndex={0}>
                {answer.body}
              </Code>
            )}
          </Stack>
        </Card>
      )}
    </Stack>
  );
}
