// The list that most pages are: columns, server paging and sorting, row selection, and its empty states.
import {
  ActionIcon,
  Button,
  Checkbox,
  Group,
  NativeSelect,
  Pagination,
  Skeleton,
  Table,
  Text,
  TextInput,
  UnstyledButton,
} from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { ArrowDown, ArrowUp, ArrowUpDown, EllipsisVertical, RotateCw, Search } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type List, PAGE_SIZES } from "../hooks";
import { useI18n } from "../i18n";
import { useSession } from "../session";
import { ButtonMenu } from "./menu";
import { DateTime, Failure } from "./ui";

export interface Column<T> {
  title: string;
  /** Name of the field the server sorts by; without it the column does not sort. */
  sort?: string;
  cell: (row: T) => ReactNode;
  align?: "right";
  narrow?: boolean;
}

export interface RowAction<T> {
  /** What it does to this row: "Enable" for one that is disabled. */
  label: string | ((row: T) => string);
  run: (row: T) => void;
  hidden?: (row: T) => boolean;
  disabled?: (row: T) => boolean;
  danger?: boolean;
}

type Source<T> = Partial<Omit<List<T>, "refetch">> & Pick<List<T>, "rows"> & { refetch?: () => unknown };

/** Rows that are chosen, by key, those of other pages included. */
export type Selection<T> = Map<string | number, T>;

export function DataTable<T>(props: {
  label: string;
  list: Source<T>;
  columns: Column<T>[];
  rowKey: (row: T) => string | number;
  empty: ReactNode;
  actions?: RowAction<T>[];
  selected?: Selection<T>;
  onSelect?: (rows: Selection<T>) => void;
  /** More about a row, shown below it when asked for. */
  expand?: (row: T) => ReactNode;
  /** Whether a row has more to show; without it every row has. */
  expandable?: (row: T) => boolean;
}) {
  const { t } = useI18n();
  const { list, columns, rowKey, selected, onSelect } = props;
  const [open, setOpen] = useState<string | number | null>(null);
  if (list.error && !list.rows.length) return <Failure error={list.error} retry={list.refetch} />;
  const keys = list.rows.map(rowKey);
  const all = keys.length > 0 && keys.every((key) => selected?.has(key));
  const width = columns.length + (onSelect ? 1 : 0) + (props.actions ? 1 : 0) + (props.expand ? 1 : 0);
  // The server counts some lists to a limit only (-1): whether there is another page shows by a full one.
  const uncounted = (list.total ?? 0) < 0;
  const pages = uncounted
    ? (list.page ?? 1) + (list.rows.length < (list.pageSize ?? 15) ? 0 : 1)
    : Math.max(1, Math.ceil((list.total ?? 0) / (list.pageSize ?? 15)));
  const choose = (rows: T[], on: boolean) => {
    const next = new Map(selected);
    for (const row of rows) {
      if (on) next.set(rowKey(row), row);
      else next.delete(rowKey(row));
    }
    onSelect?.(next);
  };

  return (
    <div className="table-card" data-stale={!!list.error || undefined}>
      {!!list.error && (
        <Group justify="space-between" className="stale" role="status">
          <Text size="sm">
            {t("Could not be refreshed; this is how it was:")} <DateTime value={list.updatedAt} seconds />
          </Text>
          {list.refetch && (
            <Button size="compact-xs" variant="default" onClick={() => list.refetch?.()}>
              {t("Try again")}
            </Button>
          )}
        </Group>
      )}
      <Table.ScrollContainer
        minWidth={0}
        scrollAreaProps={{ tabIndex: 0, viewportProps: { tabIndex: -1 } }}
        type="native"
      >
        <Table
          verticalSpacing={7}
          horizontalSpacing="sm"
          highlightOnHover
          aria-label={props.label}
          aria-busy={list.loading}
        >
          <Table.Thead>
            <Table.Tr>
              {onSelect && (
                <Table.Th w={40}>
                  <Checkbox
                    size="xs"
                    aria-label={t("Select all")}
                    checked={all}
                    indeterminate={!all && keys.some((key) => selected?.has(key))}
                    onChange={() => choose(list.rows, !all)}
                  />
                </Table.Th>
              )}
              {props.expand && (
                <Table.Th w={32}>
                  <span className="sr-only">{t("Details")}</span>
                </Table.Th>
              )}
              {columns.map((column) => (
                <Table.Th
                  key={column.title}
                  ta={column.align}
                  aria-sort={ariaSort(column.sort, list.sort)}
                  className={column.narrow ? "narrow" : undefined}
                >
                  {column.sort && list.setSort ? (
                    <SortButton
                      title={column.title}
                      field={column.sort}
                      sort={list.sort}
                      onSort={list.setSort}
                    />
                  ) : (
                    column.title
                  )}
                </Table.Th>
              ))}
              {props.actions && (
                <Table.Th w={48} className="row-actions">
                  <span className="sr-only">{t("Actions")}</span>
                </Table.Th>
              )}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {list.loading
              ? [0, 1, 2].map((row) => (
                  <Table.Tr key={row}>
                    <Table.Td colSpan={width}>
                      <Skeleton height={18} radius="sm" />
                    </Table.Td>
                  </Table.Tr>
                ))
              : list.rows.map((row) => {
                  const key = rowKey(row);
                  const actions = (props.actions ?? []).filter((action) => !action.hidden?.(row));
                  const more = props.expand && (props.expandable?.(row) ?? true);
                  return [
                    <Table.Tr
                      key={key}
                      bg={selected?.has(key) ? "var(--mantine-color-sea-light)" : undefined}
                    >
                      {onSelect && (
                        <Table.Td>
                          <Checkbox
                            size="xs"
                            aria-label={t("Select row")}
                            checked={!!selected?.has(key)}
                            onChange={(event) => choose([row], event.currentTarget.checked)}
                          />
                        </Table.Td>
                      )}
                      {props.expand && (
                        <Table.Td>
                          {more && (
                            <ActionIcon
                              size="sm"
                              variant="subtle"
                              color="gray"
                              aria-expanded={open === key}
                              aria-label={t("Details")}
                              onClick={() => setOpen(open === key ? null : key)}
                              className={open === key ? "chevron open" : "chevron"}
                            >
                              ›
                            </ActionIcon>
                          )}
                        </Table.Td>
                      )}
                      {columns.map((column) => (
                        <Table.Td
                          key={column.title}
                          ta={column.align}
                          data-label={column.title}
                          className={column.narrow ? "narrow" : undefined}
                        >
                          {column.cell(row)}
                        </Table.Td>
                      ))}
                      {props.actions && (
                        <Table.Td ta="right" className="row-actions">
                          {actions.length > 0 && (
                            <ButtonMenu
                              target={
                                <ActionIcon variant="subtle" color="gray" aria-label={t("Actions")}>
                                  <EllipsisVertical size={16} aria-hidden />
                                </ActionIcon>
                              }
                              items={actions.map((action) => ({
                                label: typeof action.label === "string" ? action.label : action.label(row),
                                danger: action.danger,
                                disabled: action.disabled?.(row),
                                run: () => action.run(row),
                              }))}
                            />
                          )}
                        </Table.Td>
                      )}
                    </Table.Tr>,
                    more && open === key && (
                      <Table.Tr key={`${key}-more`} className="expanded">
                        <Table.Td colSpan={width}>{props.expand?.(row)}</Table.Td>
                      </Table.Tr>
                    ),
                  ];
                })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {!list.loading && list.rows.length === 0 && props.empty}
      {list.setPage && !list.loading && (list.total ?? 0) !== 0 && (
        <Group justify="space-between" p="xs" px="md" className="table-foot">
          <Text size="sm" c="dimmed">
            {uncounted ? t("More than {n}", { n: 1000 }) : t("{n} in all", { n: list.total ?? 0 })}
          </Text>
          <Group gap="sm">
            {list.setPageSize && (uncounted || (list.total ?? 0) > PAGE_SIZES[0]) && (
              <NativeSelect
                size="xs"
                aria-label={t("Rows per page")}
                data={[...new Set([...PAGE_SIZES, list.pageSize ?? PAGE_SIZES[0]])]
                  .sort((a, b) => a - b)
                  .map(String)}
                value={String(list.pageSize)}
                onChange={(event) => list.setPageSize?.(Number(event.currentTarget.value))}
              />
            )}
            {pages > 1 && (
              <Pagination
                size="sm"
                total={pages}
                value={list.page}
                onChange={list.setPage}
                getItemProps={(page) => ({ "aria-label": t("Page {n}", { n: page }) })}
                getControlProps={(control) => ({
                  "aria-label": control === "next" ? t("Next page") : t("Previous page"),
                })}
              />
            )}
          </Group>
        </Group>
      )}
    </div>
  );
}

function ariaSort(field: string | undefined, sort: string | undefined) {
  if (!field) return undefined;
  return sort === field ? "ascending" : sort === `-${field}` ? "descending" : "none";
}

function SortButton(props: {
  title: string;
  field: string;
  sort?: string;
  onSort: (sort: string | undefined) => void;
}) {
  const state = ariaSort(props.field, props.sort);
  const Icon = state === "ascending" ? ArrowUp : state === "descending" ? ArrowDown : ArrowUpDown;
  return (
    <UnstyledButton
      className="sort"
      onClick={() => props.onSort(state === "ascending" ? `-${props.field}` : props.field)}
    >
      {props.title}
      <Icon size={13} aria-hidden opacity={state === "none" ? 0.45 : 1} />
    </UnstyledButton>
  );
}

/** A field whose text is given on when typing pauses; it follows `value` when that changes elsewhere (Back). */
export function SearchInput(props: {
  value: string;
  onChange: (value: string) => void;
  label: string;
  w?: number | string;
  icon?: boolean;
}) {
  const [text, setText] = useState(props.value);
  const given = useRef(props.value);
  useEffect(() => {
    if (given.current !== props.value) {
      given.current = props.value;
      setText(props.value);
    }
  }, [props.value]);
  const give = useDebouncedCallback((next: string) => {
    given.current = next.trim();
    props.onChange(next.trim());
  }, 250);
  return (
    <TextInput
      type="search"
      placeholder={props.label}
      aria-label={props.label}
      leftSection={props.icon === false ? undefined : <Search size={15} aria-hidden />}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        give(event.currentTarget.value);
      }}
      w={props.w ?? 240}
      className="search-input"
    />
  );
}

/** What stands above a list: search on the left, refresh and further buttons on the right. */
export function Toolbar(props: {
  search?: (value: string) => void;
  value?: string;
  placeholder?: string;
  refresh?: () => unknown;
  left?: ReactNode;
  children?: ReactNode;
}) {
  const { t } = useI18n();
  const { check } = useSession();
  return (
    <Group justify="space-between" className="toolbar">
      <Group gap="xs">
        {props.search && (
          <SearchInput
            value={props.value ?? ""}
            onChange={props.search}
            label={props.placeholder ?? t("Filter by name")}
          />
        )}
        {props.left}
      </Group>
      <Group gap="xs">
        {props.children}
        {props.refresh && (
          <ActionIcon
            variant="default"
            size="lg"
            aria-label={t("Refresh")}
            onClick={() => {
              props.refresh?.();
              // Lists of public things answer without a session too: it is looked at as well.
              check();
            }}
          >
            <RotateCw size={16} aria-hidden />
          </ActionIcon>
        )}
      </Group>
    </Group>
  );
}
