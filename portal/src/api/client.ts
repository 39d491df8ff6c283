// HTTP to the v2.0 API: session cookie, CSRF token, the error envelope, and paging headers.

import { report } from "../lib/connection";
import type { paths } from "./schema";

export const BASE = "/api/v2.0";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId?: string,
  ) {
    super(message);
  }
}

type Method = "get" | "post" | "put" | "patch" | "delete";
/** Paths of our OpenAPI document (`schema.ts`) that have the method: another one does not compile. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends { [K in M]: object }
    ? P extends `/api/v2.0${infer Rest}`
      ? Rest
      : never
    : never;
}[keyof paths];
/** What our OpenAPI document says a GET answers with. */
export type Answer<P extends PathOf<"get">> = paths[`/api/v2.0${P}`] extends {
  get: { responses: { 200: { content: { "application/json": infer Body } } } };
}
  ? Body
  : unknown;

type Primitive = string | number | boolean | null | undefined;
export type Query = Record<string, Primitive>;
export interface Options {
  path?: Record<string, Primitive>;
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}
export interface Page<T> {
  rows: T[];
  total: number;
}

export const CURRENT = "/users/current";
let csrf = "";
let onExpired: () => void = () => {};

/** Called when an answer says that the session is no longer valid. */
export function whenExpired(callback: () => void) {
  onExpired = callback;
}

export function forgetCsrf() {
  csrf = "";
}

/** Fills `{name}` in a path template. Repository names are encoded twice, as Harbor's clients do. */
export function url(template: string, options: Options = {}): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = options.path?.[name];
    if (value === undefined || value === null) throw new Error(`no value for ${name} in ${template}`);
    const once = encodeURIComponent(String(value));
    return name === "repository_name" && once.includes("%2F") ? encodeURIComponent(once) : once;
  });
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  const tail = query.toString();
  return (filled.startsWith("/c/") ? "" : BASE) + filled + (tail ? `?${tail}` : "");
}

async function failure(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id") ?? undefined;
  let code = response.status === 401 ? "UNAUTHORIZED" : "UNKNOWN";
  let message = response.statusText || `HTTP ${response.status}`;
  try {
    const body = await response.json();
    const first = body?.errors?.[0];
    if (first) {
      code = String(first.code ?? code);
      message = String(first.message || message);
    }
  } catch {
    // Not JSON: a balancer's own page, for instance. The status line has to do.
  }
  return new ApiError(response.status, code, message, requestId);
}

/** Sends a request with what a session needs, and gives whatever is answered. */
export async function exchange(method: string, template: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  if (options.body !== undefined && !headers["Content-Type"]) headers["Content-Type"] = "application/json";
  if (method !== "GET") {
    if (!csrf) await refreshCsrf();
    if (csrf) headers["X-Harbor-CSRF-Token"] = csrf;
  }
  const init: RequestInit = { method, headers, credentials: "same-origin", signal: options.signal };
  if (options.body !== undefined) {
    init.body = typeof options.body === "string" ? options.body : JSON.stringify(options.body);
  }
  let response = await attempt(url(template, options), init);
  if (response.status === 403 && method !== "GET") {
    // The token may belong to a session or a key that is no more; with a new one it is worth one more try.
    const refused = await failure(response.clone());
    if (/csrf/i.test(refused.message)) {
      await refreshCsrf();
      response = await attempt(url(template, options), {
        ...init,
        headers: { ...headers, "X-Harbor-CSRF-Token": csrf },
      });
    }
  }
  const token = response.headers.get("x-harbor-csrf-token");
  if (token) csrf = token;
  // Who is signed in is asked for because of this very notice: that question must not raise it again.
  if (response.status === 401 && !template.startsWith("/c/") && template !== CURRENT) onExpired();
  return response;
}

async function send(method: string, template: string, options: Options = {}): Promise<Response> {
  const response = await exchange(method, template, options);
  if (!response.ok) throw await failure(response);
  return response;
}

// A balancer that is just finding out that an instance has died answers 502 to 504, or cuts the
// connection. A read or a PUT is safe to send again (RFC 9110, 9.2.2); other writes are not, and their error
// is shown.
async function attempt(target: string, init: RequestInit): Promise<Response> {
  for (let round = 0; ; round++) {
    const last = (init.method !== "GET" && init.method !== "PUT") || round === 3;
    try {
      const response = await fetch(target, init);
      const away = [502, 503, 504].includes(response.status);
      // An answer with the API's own error is an answer: something behind the registry is away, not the registry.
      if (!away) report(true);
      if (last || !away) return response;
    } catch (error) {
      if (init.signal?.aborted) throw error;
      if (round > 0 || last) report(false);
      if (last) throw new ApiError(0, "NETWORK", "The registry cannot be reached");
    }
    await new Promise((resolve) => setTimeout(resolve, 300 * 2 ** round));
  }
}

/** Whether an instance answers now; tried once, within five seconds. */
export async function answers(): Promise<boolean> {
  try {
    const response = await fetch(`${BASE}/ping`, { signal: AbortSignal.timeout(5000), cache: "no-store" });
    if (response.status >= 502 && response.status <= 504) return false;
    report(true);
    return true;
  } catch {
    return false;
  }
}

/** Whether the page itself can be had: reloading without it would end on the browser's own error page. */
export async function pageAnswers(): Promise<boolean> {
  try {
    const response = await fetch(location.href, { signal: AbortSignal.timeout(5000), cache: "no-store" });
    return response.ok && (response.headers.get("content-type") ?? "").includes("text/html");
  } catch {
    return false;
  }
}

/** Opens the event stream; `last` is the id of the newest event of the stream before. Whatever fails is for the caller. */
export function openEvents(last: string, signal: AbortSignal): Promise<Response> {
  const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
  return fetch(url("/seawall/events" satisfies PathOf<"get">), {
    headers,
    credentials: "same-origin",
    cache: "no-store",
    signal,
  });
}

async function refreshCsrf() {
  const response = await attempt(`${BASE}/systeminfo`, { method: "GET", credentials: "same-origin" });
  csrf = response.headers.get("x-harbor-csrf-token") ?? csrf;
}

async function json<T>(response: Response): Promise<T> {
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const api = {
  /** null where there is nothing, as of a schedule that is not set. */
  get: async <T>(template: PathOf<"get">, options?: Options) =>
    (await json<T>(await send("GET", template, options))) ?? (null as T),
  text: async (template: PathOf<"get">, options?: Options) =>
    (await send("GET", template, { ...options, headers: { Accept: "*/*", ...options?.headers } })).text(),
  page: async <T>(template: PathOf<"get">, options?: Options): Promise<Page<T>> => {
    const response = await send("GET", template, options);
    const rows = (await json<T[] | null>(response)) ?? [];
    const total = response.headers.get("x-total-count");
    return { rows, total: total === null ? rows.length : Number(total) };
  },
  post: async <T = void>(template: PathOf<"post">, options?: Options) => {
    const response = await send("POST", template, options);
    return json<T>(response);
  },
  /** POST whose answer names the new thing in Location only: returns the last part of it. */
  create: async (template: PathOf<"post">, options?: Options) => {
    const response = await send("POST", template, options);
    return response.headers.get("location")?.split("/").pop() ?? "";
  },
  put: async <T = void>(template: PathOf<"put">, options?: Options) =>
    json<T>(await send("PUT", template, options)),
  /** Reads what is stored, changes it and writes it back whole: what the caller does not know of is not lost. */
  edit: async <T>(
    template: PathOf<"get"> & PathOf<"put">,
    path: Options["path"],
    change: (stored: T) => unknown,
  ) => {
    const stored = await json<T>(await send("GET", template, { path }));
    await send("PUT", template, { path, body: change(stored) });
  },
  patch: async <T = void>(template: PathOf<"patch">, options?: Options) =>
    json<T>(await send("PATCH", template, options)),
  delete: async (template: PathOf<"delete">, options?: Options) => {
    await send("DELETE", template, options);
  },
};

/** Harbor's login form. Raises ApiError 401 on wrong credentials. */
export async function login(principal: string, password: string, code = "") {
  const body = new URLSearchParams({ principal, password, ...(code && { code }) }).toString();
  await refreshCsrf();
  await send("POST", "/c/login", { body, headers: { "Content-Type": "application/x-www-form-urlencoded" } });
  csrf = "";
}

/** The name that a new user of the provider chose. Raises ApiError 409 when it is taken, 403 when it is too late. */
export async function onboard(username: string) {
  await refreshCsrf();
  await send("POST", "/c/oidc/onboard", { body: { username } });
  csrf = "";
}

/** Sends the browser to the provider, which sends it back signed in. */
export function toProvider(target: string) {
  location.assign(providerLogin(target));
}
export const providerLogin = (target: string, source?: string | null) =>
  `/c/oidc/login?redirect_url=${encodeURIComponent(target)}${source ? `&source=${encodeURIComponent(source)}` : ""}`;
/** Ends the session here and, if so configured, at the provider. */
export const PROVIDER_LOGOUT = "/c/oidc/logout";

export async function logout() {
  await send("GET", "/c/log_out");
  csrf = "";
}
