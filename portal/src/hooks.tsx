import { notifications } from "@mantine/notifications";
import {
  keepPreviousData,
  type UseQueryOptions,
  useMutation,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, api, type Options, type Page, type PathOf } from "./api/client";
import { type Text, useI18n } from "./i18n";

type Extra<T> = Partial<Pick<UseQueryOptions<T>, "enabled" | "refetchInterval" | "retry" | "staleTime">>;

/** One thing of the API, kept fresh. */
export function useGet<T>(template: PathOf<"get">, options: Options = {}, extra: Extra<T> = {}) {
  return useQuery<T>({
    queryKey: [template, options.path ?? {}, options.query ?? {}],
    queryFn: ({ signal }) => api.get<T>(template, { ...options, signal }),
    ...extra,
  });
}

export const PAGE_SIZES = [15, 25, 50, 100];

/** A list of the API, page by page on the server. */
export function useList<T>(
  template: PathOf<"get">,
  options: Options & { sort?: string; pageSize?: number } = {},
  extra: Extra<Page<T>> = {},
) {
  const [page, setPage] = useState(1);
  const [pageSize, setSize] = useState(options.pageSize ?? PAGE_SIZES[0]);
  const [sort, setSort] = useState(options.sort);
  const filter = JSON.stringify([options.path, options.query]);
  const [seen, setSeen] = useState(filter);
  // A changed filter starts at the first page; set while rendering so that no stale page is asked for.
  if (seen !== filter) {
    setSeen(filter);
    setPage(1);
  }
  const query = { ...options.query, page, page_size: pageSize, sort };
  const result = useQuery<Page<T>>({
    queryKey: [template, options.path ?? {}, query],
    queryFn: ({ signal }) => api.page<T>(template, { ...options, query, signal }),
    placeholderData: keepPreviousData,
    ...extra,
  });
  return {
    rows: result.data?.rows ?? [],
    total: result.data?.total ?? 0,
    loading: result.isPending && result.fetchStatus !== "idle",
    error: result.error,
    refetch: result.refetch,
    page,
    setPage,
    pageSize,
    setPageSize: (size: number) => {
      setSize(size);
      setPage(1);
    },
    sort,
    setSort,
  };
}
export type List<T> = ReturnType<typeof useList<T>>;

export function useErrorText() {
  const { t, word } = useI18n();
  return (error: unknown): string => {
    if (error instanceof ApiError) {
      if (error.status === 0) return t("The registry cannot be reached. Is the network up?");
      if (error.status === 403) return t("You are not allowed to do this.");
      return word(error.message);
    }
    return error instanceof Error ? error.message : String(error);
  };
}

/** Runs a change, tells how it went, and lets every list on the page be asked for again. */
export function useAction<V = void, R = unknown>(run: (value: V) => Promise<R>, done?: Text) {
  const client = useQueryClient();
  const { t } = useI18n();
  const text = useErrorText();
  return useMutation<R, Error, V>({
    mutationFn: run,
    onSuccess: async () => {
      await client.invalidateQueries();
      if (done) notifications.show({ message: t(done), color: "teal" });
    },
    onError: (error) => {
      notifications.show({
        title: t("That did not work"),
        message: text(error),
        color: "red",
        autoClose: 8000,
      });
    },
  });
}
