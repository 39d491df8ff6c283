// What the user has started in this window, and how it goes on: kept over a reload, gone with the window or with
// another user. What the server works at is asked after until it is over.
import { useSyncExternalStore } from "react";
import { ApiError, api, type Options, type PathOf } from "../api/client";
import type { Text } from "../i18n";
import { isUp, whenChanged } from "./live";

/** Where the server says how something goes on; `id` picks the row of a list. */
export interface Follow {
  template: PathOf<"get">;
  options?: Pick<Options, "path" | "query">;
  id?: string | number;
  /** Which report of an artifact it is about. */
  report?: "vulnerability" | "sbom";
}
export interface Operation {
  id: string;
  label: Text;
  target: string;
  state: "running" | "done" | "failed";
  done?: number;
  total?: number;
  errors: string[];
  started: number;
  ended?: number;
  follow?: Follow;
}

const KEY = "seawall-operations";
const MOST = 100;
const ENDED = ["success", "succeed", "succeeded", "error", "failed", "stopped", "finished"];
const WELL = ["success", "succeed", "succeeded", "finished"];

let owner = 0;
let all: Operation[] = [];
const listeners = new Set<() => void>();

function change(next: Operation[]) {
  all = next.slice(0, MOST);
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ owner, all }));
  } catch {
    // Without storage the list lives as long as the page.
  }
  for (const listener of listeners) listener();
}

const set = (id: string, values: Partial<Operation>) =>
  change(all.map((item) => (item.id === id ? { ...item, ...values } : item)));

/** Begins the list of a user, or goes on with the one of before the reload. */
export function openFor(user: number) {
  if (user === owner) return;
  owner = user;
  let kept: { owner?: number; all?: Operation[] } = {};
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  } catch {
    // Nothing that can be read.
  }
  change(
    (kept.owner === user ? (kept.all ?? []) : []).map((item) =>
      // What the page itself was doing ended with the page.
      item.state === "running" && !item.follow
        ? { ...item, state: "failed", ended: Date.now(), errors: [...item.errors, "Interrupted"] }
        : item,
    ),
  );
}

export const clearEnded = () => change(all.filter((item) => item.state === "running"));

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
export const useOperations = () => useSyncExternalStore(subscribe, () => all);

/** Lists something that has begun; `tell` says what has become of its parts, `end` that it is over. */
export function begin(label: Text, target: string, total?: number) {
  const id = `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
  change([
    { id, label, target, state: "running", done: total && 0, total, errors: [], started: Date.now() },
    ...all,
  ]);
  return {
    tell: (done: number, errors: string[]) => set(id, { done, errors: errors.slice(0, 50) }),
    end: (errors: string[] = []) =>
      set(id, {
        state: errors.length ? "failed" : "done",
        errors: errors.slice(0, 50),
        ended: Date.now(),
        follow: undefined,
      }),
    follow: (follow: Follow) => {
      set(id, { follow });
      window.setTimeout(look, 1000);
    },
  };
}

/** Runs something that is listed. `follow` says where the server tells how it goes on after `run`. */
export async function logged<R>(
  label: Text,
  target: string,
  run: () => Promise<R>,
  follow?: (result: R) => Follow,
): Promise<R> {
  const operation = begin(label, target);
  try {
    const result = await run();
    if (follow) operation.follow(follow(result));
    else operation.end();
    return result;
  } catch (error) {
    operation.end([error instanceof Error ? error.message : String(error)]);
    throw error;
  }
}

interface Standing {
  status?: string;
  status_text?: string;
  job_status?: string;
  scan_status?: string;
  message?: string;
  ongoing?: boolean;
  total?: number;
  completed?: number;
  succeed?: number;
  failed?: number;
  stopped?: number;
  scan_overview?: Record<string, Standing>;
  sbom_overview?: Standing;
}

function standing(follow: Follow, body: unknown): Partial<Operation> {
  const rows = body as (Standing & { id?: number })[];
  let now = (Array.isArray(body) ? rows.find((row) => String(row.id) === String(follow.id)) : body) as
    | Standing
    | undefined;
  if (follow.report === "sbom") now = now?.sbom_overview;
  if (follow.report === "vulnerability") now = Object.values(now?.scan_overview ?? {})[0];
  // A report is there a moment after the scan was asked for.
  if (!now) return {};
  const counted = now.completed ?? (now.succeed ?? 0) + (now.failed ?? 0) + (now.stopped ?? 0);
  const progress = now.total ? { total: now.total, done: counted } : {};
  const status = now.job_status ?? now.scan_status ?? now.status ?? (now.ongoing ? "Running" : "Success");
  if (!ENDED.includes(status.toLowerCase())) return progress;
  const well = WELL.includes(status.toLowerCase());
  return {
    ...progress,
    state: well ? "done" : "failed",
    errors: well ? [] : [now.status_text || now.message || status],
    ended: Date.now(),
    follow: undefined,
  };
}

let looking = false;
async function look() {
  if (looking) return;
  looking = true;
  try {
    for (const { id, follow } of all.filter((item) => item.state === "running" && item.follow)) {
      if (!follow) continue;
      try {
        set(id, standing(follow, await api.get(follow.template, follow.options)));
      } catch (error) {
        // What is gone is over. Anything else may pass.
        if (error instanceof ApiError && (error.status === 404 || error.status === 403)) {
          set(id, { state: "failed", errors: [error.message], ended: Date.now(), follow: undefined });
        }
      }
    }
  } finally {
    looking = false;
  }
}

let beats = 0;
/** Asks after what runs, until the returned function is called: when something changed, else every few seconds. */
export function watch() {
  let timer = 0;
  const soon = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      void look();
    }, 500);
  };
  const quiet = whenChanged(soon);
  const every = window.setInterval(() => {
    beats += 1;
    if (document.visibilityState === "visible" && (!isUp() || beats % 10 === 0)) void look();
  }, 3000);
  return () => {
    quiet();
    window.clearTimeout(timer);
    window.clearInterval(every);
  };
}
