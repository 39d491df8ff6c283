// What changes on the server, told by one event stream while the page is in front: lists are asked for again when
// something in them has changed, and not every few seconds. Without the stream the pages go on asking.
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { openEvents } from "../api/client";

/** What the server says: what to ask for again, and nothing of what is there now. */
export interface Change {
  kind: string;
  project_id?: number;
  project?: string;
  repository?: string;
  execution?: number;
}

// Which paths of the API show something of each kind.
const SHOWN: Record<string, RegExp> = {
  artifact: /repositor|artifact|^\/projects|summary|\/statistics|\/quotas|\/security/,
  scan: /artifact|\/security/,
  retention: /^\/retentions/,
  preheat: /\/preheat/,
  webhook: /\/webhook/,
  replication: /^\/replication/,
  export: /^\/export/,
  gc: /^\/system\/gc/,
  purge: /^\/system\/purgeaudit/,
  "scan-all": /^\/scans|^\/system\/scanAll|\/security/,
  job: /^\/jobservice/,
};
const RUNNING = Object.entries(SHOWN).flatMap(([kind, path]) => (kind === "artifact" ? [] : [path]));

// No byte for so long, where a heartbeat comes every fifteen seconds: something on the way is broken or buffers.
const SILENCE = 45_000;
// The first page is drawn before.
const FIRST = 2500;
// Pages are asked for again at most so often, however much changes.
const EVERY = 1500;
// The stream does not report every change, so the portal still fetches such a list now and then.
export const SLOW = 30_000;

let up = false;
const listeners = new Set<() => void>();
const heard = new Set<(change: Change | null) => void>();

function say(next: boolean) {
  if (up === next) return;
  up = next;
  for (const listener of listeners) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
/** Whether the stream reports changes; then the portal does not need to poll. */
export const useLive = () => useSyncExternalStore(subscribe, () => up);

export const isUp = () => up;

/** Calls back with each change, and with null when everything may have changed. */
export function whenChanged(callback: (change: Change | null) => void) {
  heard.add(callback);
  return () => heard.delete(callback);
}

/** Whether the stream tells of what a path shows while it runs. */
export const isTold = (path: string) => RUNNING.some((shown) => shown.test(path));

/** How often to ask for `path` again, where it would be asked every `wanted` milliseconds without the stream. */
export const interval = (path: string, wanted: number | false | undefined) =>
  wanted && up && isTold(path) ? Math.max(wanted, SLOW) : wanted;

function concerns(change: Change, key: readonly unknown[]) {
  const [path, params] = key;
  if (typeof path !== "string" || !SHOWN[change.kind]?.test(path)) return false;
  if (!change.project || typeof params !== "object" || !params) return true;
  const { project_name, project_name_or_id, repository_name } = params as Record<string, unknown>;
  const project = project_name ?? project_name_or_id;
  if (project !== undefined && project !== change.project && String(project) !== String(change.project_id)) {
    return false;
  }
  const repository = change.repository?.slice(change.project.length + 1);
  return !repository || repository_name === undefined || repository_name === repository;
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = window.setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      window.clearTimeout(timer);
      resolve();
    });
  });

const inFront = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (document.visibilityState === "visible") return resolve();
    const look = () => document.visibilityState === "visible" && resolve();
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", () => resolve());
  });

/** Follows the stream until the returned function is called; `ended` when it says that the session is over. */
export function follow(client: QueryClient, ended: () => void): () => void {
  const stop = new AbortController();
  let waiting: Change[] = [];
  let everything = false;
  let timer = 0;

  const flush = () => {
    timer = 0;
    const changes = waiting;
    const all = everything;
    waiting = [];
    everything = false;
    if (all) client.invalidateQueries({ predicate: ({ queryKey }) => String(queryKey[0]).startsWith("/") });
    else {
      client.invalidateQueries({
        predicate: ({ queryKey }) => changes.some((change) => concerns(change, queryKey)),
      });
    }
  };
  const take = (change: Change | null) => {
    if (change) waiting.push(change);
    else everything = true;
    for (const callback of heard) callback(change);
    timer ||= window.setTimeout(flush, EVERY);
  };

  run(stop.signal, take, ended);
  return () => {
    stop.abort();
    window.clearTimeout(timer);
    say(false);
  };
}

async function run(stop: AbortSignal, take: (change: Change | null) => void, ended: () => void) {
  let last = "";
  let tries = 0;
  await pause(FIRST, stop);
  while (!stop.aborted) {
    // A tab that nobody sees needs no stream, and browsers have few connections to a server over HTTP/1.1.
    await inFront(stop);
    if (stop.aborted) return;
    const turn = new AbortController();
    const end = () => turn.abort();
    const hidden = () => document.visibilityState !== "visible" && end();
    stop.addEventListener("abort", end);
    document.addEventListener("visibilitychange", hidden);
    let wait = Math.min(60_000, 1000 * 2 ** tries);
    try {
      const answer = await openEvents(last, turn.signal);
      if (answer.status === 401) {
        ended();
        return;
      }
      if (
        !answer.ok ||
        !answer.body ||
        !answer.headers.get("content-type")?.startsWith("text/event-stream")
      ) {
        wait = Math.max(wait, 1000 * Number(answer.headers.get("retry-after") ?? 60));
        await answer.body?.cancel();
      } else {
        for await (const { name, id, data } of messages(answer.body, end)) {
          if (id) last = id;
          tries = 0;
          wait = 500 + 1500 * Math.random();
          say(true);
          if (name === "change") take(data as unknown as Change);
          if (name === "refetch") take(null);
          if (name === "end" && data.reason === "session") {
            ended();
            return;
          }
        }
      }
    } catch {
      // The connection broke, or nothing came: the pages ask by themselves until the stream is there again.
    } finally {
      stop.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", hidden);
      turn.abort();
      say(false);
    }
    tries += 1;
    // A tab that comes back to the front does not wait.
    if (document.visibilityState === "visible") await pause(wait, stop);
    else tries = 0;
  }
}

interface Message {
  name: string;
  id: string;
  data: Record<string, unknown>;
}

async function* messages(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  silent: () => void,
): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const timer = window.setTimeout(silent, SILENCE);
    const { done, value } = await reader.read().finally(() => window.clearTimeout(timer));
    if (done) return;
    text += value;
    for (let at = text.indexOf("\n\n"); at >= 0; at = text.indexOf("\n\n")) {
      const fields: Record<string, string> = {};
      for (const line of text.slice(0, at).split("\n")) {
        const [field, ...rest] = line.split(": ");
        fields[field] = rest.join(": ");
      }
      text = text.slice(at + 2);
      if (fields.event)
        yield { name: fields.event, id: fields.id ?? "", data: JSON.parse(fields.data || "{}") };
    }
  }
}
