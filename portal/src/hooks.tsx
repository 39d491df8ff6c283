import { notifications } from "@mantine/notifications";
import {
  keepPreviousData,
  type UseQueryOptions,
  useMutation,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { ApiError, api, type Options, type Page, type PathOf } from "./api/client";
import { type Text, useI18n } from "./i18n";
import { useKept } from "./lib/address";
import { interval, useLive } from "./lib/live";
import { begin } from "./lib/operations";

type Extra<T> = Partial<Pick<UseQueryOptions<T>, "enabled" | "refetchInterval" | "retry" | "staleTime">>;

/** What is asked for again and again is asked seldom while the event stream tells of its changes. */
function useInterval<T>(template: string, extra: Extra<T>): Extra<T> {
  useLive();
  const wanted = extra.refetchInterval;
  if (wanted === undefined) return extra;
  return {
    ...extra,
    refetchInterval:
      typeof wanted === "function"
        ? (query) => interval(template, wanted(query))
        : interval(template, wanted),
  };
}

/** One thing of the API, kept fresh. */
export function useGet<T>(template: PathOf<"get">, options: Options = {}, extra: Extra<T> = {}) {
  return useQuery<T>({
    queryKey: [template, options.path ?? {}, options.query ?? {}],
    queryFn: ({ signal }) => api.get<T>(template, { ...options, signal }),
    ...useInterval(template, extra),
  });
}

export const PAGE_SIZES = [15, 25, 50, 100];

/**
 * A list of the API, page by page on the server. With `address` (a prefix, "" for the main list of a page) page,
 * size and order are in the address; without it they are forgotten with the component.
 */
export function useList<T>(
  template: PathOf<"get">,
  options: Options & { sort?: string; pageSize?: number; address?: string } = {},
  extra: Extra<Page<T>> = {},
) {
  const { address, sort: standardSort, pageSize: standardSize, ...request } = options;
  const [pageText, keepPage] = useKept(address, "page", "1");
  const [sizeText, keepSize] = useKept(address, "page_size", String(standardSize ?? PAGE_SIZES[0]));
  const [sort, keepSort] = useKept(address, "sort", standardSort ?? "");
  const page = Math.max(1, Math.floor(Number(pageText)) || 1);
  const pageSize = Math.min(100, Math.max(1, Math.floor(Number(sizeText)) || PAGE_SIZES[0]));
  const filter = JSON.stringify([request.path, request.query]);
  const [seen, setSeen] = useState(filter);
  // A changed filter starts at the first page; set while rendering so that no stale page is asked for.
  // In the address the filter itself does it (useFilter), so that Back comes to the page that was left.
  if (address === undefined && seen !== filter) {
    setSeen(filter);
    keepPage("1");
  }
  const query = { ...request.query, page, page_size: pageSize, sort: sort || undefined };
  const result = useQuery<Page<T>>({
    queryKey: [template, request.path ?? {}, query],
    queryFn: ({ signal }) => api.page<T>(template, { ...request, query, signal }),
    placeholderData: keepPreviousData,
    ...useInterval(template, extra),
  });
  const total = result.data?.total ?? 0;
  const last = Math.max(1, Math.ceil(total / pageSize));
  // The last rows of the last page are gone: the page before it is the last now.
  const beyond = !!result.data && !result.isPlaceholderData && !result.data.rows.length && total > 0;
  useEffect(() => {
    if (beyond && page > last) keepPage(String(last), {}, true);
  }, [beyond, page, last, keepPage]);
  return {
    rows: result.data?.rows ?? [],
    total,
    loading: result.isPending && result.fetchStatus !== "idle",
    error: result.error,
    /** When the rows were last right, in milliseconds. */
    updatedAt: result.dataUpdatedAt,
    refetch: result.refetch,
    page,
    setPage: (next: number) => keepPage(String(next)),
    pageSize,
    setPageSize: (size: number) => {
      if (address === undefined) keepPage("1");
      keepSize(String(size), { [`${address ?? ""}page`]: undefined });
    },
    sort: sort || undefined,
    setSort: (next: string | undefined) => keepSort(next),
  };
}
export type List<T> = ReturnType<typeof useList<T>>;

export function useErrorText() {
  const { t, word } = useI18n();
  return (error: unknown): string => {
    if (error instanceof ApiError) {
      if (error.status === 0) return t("The registry cannot be reached. Is the network up?");
      if (error.status === 401) return t("Your session has ended.");
      if (error.status === 403) return t("You are not allowed to do this.");
      return word(error.message);
    }
    return error instanceof Error ? error.message : String(error);
  };
}

type Said<V> = Text | ((value: V) => string);

/**
 * Runs a change, says how it went, and lets every list on the page be asked for again, after a refusal too: part
 * of the change may have happened. `failed` is what could not be done; the reason follows it.
 */
export function useAction<V = void, R = unknown>(
  run: (value: V) => Promise<R>,
  done?: Said<V>,
  failed?: Said<V>,
) {
  const client = useQueryClient();
  const { t } = useI18n();
  const text = useErrorText();
  const say = (what: Said<V>, value: V) => (typeof what === "function" ? what(value) : t(what));
  return useMutation<R, Error, V>({
    mutationFn: run,
    onSuccess: async (_, value) => {
      await client.invalidateQueries();
      if (done) notifications.show({ message: say(done, value), color: "teal" });
    },
    onError: (error, value) => {
      client.invalidateQueries();
      const reason = text(error);
      notifications.show({
        message: failed ? `${say(failed, value)}: ${reason}` : t("Not done: {reason}", { reason }),
        color: "red",
        autoClose: 10_000,
      });
    },
  });
}

/**
 * The same change for many rows. It goes on after a refusal; at the end it says how many worked and which did not,
 * and why. `run` resolves with the rows that worked.
 */
export function useBulk<T>(what: {
  run: (row: T) => Promise<unknown>;
  name: (row: T) => string;
  done: (count: number) => string;
  failed: (name: string) => string;
  /** What the event log calls it; without it the event log has none of it. */
  label?: Text;
}) {
  const client = useQueryClient();
  const { t } = useI18n();
  const text = useErrorText();
  const mutation = useMutation<T[], Error, T[]>({
    mutationFn: async (rows) => {
      const worked: T[] = [];
      const refused: { row: T; reason: string }[] = [];
      const names = rows.slice(0, 3).map(what.name).join(", ");
      const operation = what.label && begin(what.label, rows.length > 3 ? `${names}, …` : names, rows.length);
      const errors = () => refused.map(({ row, reason }) => `${what.failed(what.name(row))}: ${reason}`);
      for (const row of rows) {
        try {
          await what.run(row);
          worked.push(row);
        } catch (error) {
          refused.push({ row, reason: text(error) });
          // Nothing more can work without the registry or the session.
          if (error instanceof ApiError && (error.status === 0 || error.status === 401)) break;
        }
        if (operation) operation.tell(worked.length + refused.length, errors());
      }
      if (operation) operation.end(errors());
      await client.invalidateQueries();
      if (worked.length) notifications.show({ message: what.done(worked.length), color: "teal" });
      for (const { row, reason } of refused.slice(0, 5)) {
        notifications.show({
          message: `${what.failed(what.name(row))}: ${reason}`,
          color: "red",
          autoClose: 10_000,
        });
      }
      const more = rows.length - worked.length - Math.min(refused.length, 5);
      if (more > 0) {
        notifications.show({
          message: t("And {n} more were not done.", { n: more }),
          color: "red",
          autoClose: 10_000,
        });
      }
      return worked;
    },
  });
  return { run: mutation.mutateAsync, busy: mutation.isPending };
}
