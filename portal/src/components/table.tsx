// The list that most pages are: columns, server paging and sorting, row selection, and its empty states.
import {
  ActionIcon,
  Checkbox,
  Group,
  Menu,
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
import { type ReactNode, useState } from "react";
import { type List, PAGE_SIZES } from "../hooks";
import { useI18n } from "../i18n";
import { Failure } from "./ui";

export interface Column<T> {
  title: string;
  /** Name of the field the server sorts by; without it the column does not sort. */
  sort?: string;
  cell: (row: T) => ReactNode;
  align?: "right";
  narrow?: boolean;
}

export interface RowAction<T> {
  label: string;
  run: (row: T) => void;
  hidden?: (row: T) => boolean;
  disabled?: (row: T) => boolean;
  danger?: boolean;
}

type Source<T> = Partial<Omit<List<T>, "refetch">> & Pick<List<T>, "rows"> & { refetch?: () => unknown };

export function DataTable<T>(props: {
  label: string;
  list: Source<T>;
  columns: Column<T>[];
  rowKey: (row: T) => string | number;
  empty: ReactNode;
  actions?: RowAction<T>[];
  selected?: (string | number)[];
  onSelect?: (keys: (string | number)[]) => void;
  /** More about a row, shown below it when asked for. */
  expand?: (row: T) => ReactNode;
}) {
  const { t } = useI18n();
  const { list, columns, rowKey, selected, onSelect } = props;
  const [open, setOpen] = useState<string | number | null>(null);
  if (list.error && !list.rows.length) return <Failure error={list.error} retry={list.refetch} />;
  const keys = list.rows.map(rowKey);
  const all = keys.length > 0 && keys.every((key) => selected?.includes(key));
  const width = columns.length + (onSelect ? 1 : 0) + (props.actions ? 1 : 0) + (props.expand ? 1 : 0);
  const pages = Math.max(1, Math.ceil((list.total ?? 0) / (list.pageSize ?? 15)));

  return (
    <div className="table-card">
      <Table.ScrollContainer
        minWidth={560}
        scrollAreaProps={{ tabIndex: 0, viewportProps: { tabIndex: -1 } }}
        type="native"
      >
        <Table
          verticalSpacing="xs"
          horizontalSpacing="md"
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
                    indeterminate={!all && keys.some((key) => selected?.includes(key))}
                    onChange={() => onSelect(all ? [] : keys)}
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
                <Table.Th w={48}>
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
                  const actions = props.actions?.filter((action) => !action.hidden?.(row)) ?? [];
                  return [
                    <Table.Tr key={key} data-selected={selected?.includes(key) || undefined}>
                      {onSelect && (
                        <Table.Td>
                          <Checkbox
                            size="xs"
                            aria-label={t("Select row")}
                            checked={!!selected?.includes(key)}
                            onChange={(event) =>
                              onSelect(
                                event.currentTarget.checked
                                  ? [...(selected ?? []), key]
                                  : (selected ?? []).filter((other) => other !== key),
                              )
                            }
                          />
                        </Table.Td>
                      )}
                      {props.expand && (
                        <Table.Td>
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
                        </Table.Td>
                      )}
                      {columns.map((column) => (
                        <Table.Td key={column.title} ta={column.align}>
                          {column.cell(row)}
                        </Table.Td>
                      ))}
                      {props.actions && (
                        <Table.Td ta="right">
                          {actions.length > 0 && (
                            <Menu position="bottom-end" withinPortal>
                              <Menu.Target>
                                <ActionIcon variant="subtle" color="gray" aria-label={t("Actions")}>
                                  <EllipsisVertical size={16} aria-hidden />
                                </ActionIcon>
                              </Menu.Target>
                              <Menu.Dropdown>
                                {actions.map((action) => (
                                  <Menu.Item
                                    key={action.label}
                                    className={action.danger ? "danger" : undefined}
                                    disabled={action.disabled?.(row)}
                                    onClick={() => action.run(row)}
                                  >
                                    {action.label}
                                  </Menu.Item>
                                ))}
                              </Menu.Dropdown>
                            </Menu>
                          )}
                        </Table.Td>
                      )}
                    </Table.Tr>,
                    props.expand && open === key && (
                      <Table.Tr key={`${key}-more`} className="expanded">
                        <Table.Td colSpan={width}>{props.expand(row)}</Table.Td>
                      </Table.Tr>
                    ),
                  ];
                })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {!list.loading && list.rows.length === 0 && props.empty}
      {list.setPage && !list.loading && (list.total ?? 0) > 0 && (
        <Group justify="space-between" p="xs" px="md" className="table-foot">
          <Text size="sm" c="dimmed">
            {t("{n} in all", { n: list.total ?? 0 })}
          </Text>
          <Group gap="sm">
            {list.setPageSize && (list.total ?? 0) > PAGE_SIZES[0] && (
              <NativeSelect
                size="xs"
                aria-label={t("Rows per page")}
                data={PAGE_SIZES.map(String)}
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

/** What stands above a list: search on the left, refresh and further buttons on the right. */
export function Toolbar(props: {
  search?: (value: string) => void;
  placeholder?: string;
  refresh?: () => unknown;
  left?: ReactNode;
  children?: ReactNode;
}) {
  const { t } = useI18n();
  const search = useDebouncedCallback((value: string) => props.search?.(value.trim()), 250);
  return (
    <Group justify="space-between" className="toolbar">
      <Group gap="xs">
        {props.search && (
          <TextInput
            type="search"
            placeholder={props.placeholder ?? t("Filter by name")}
            aria-label={props.placeholder ?? t("Filter by name")}
            leftSection={<Search size={15} aria-hidden />}
            onChange={(event) => search(event.currentTarget.value)}
            w={260}
          />
        )}
        {props.left}
      </Group>
      <Group gap="xs">
        {props.children}
        {props.refresh && (
          <ActionIcon variant="default" size="lg" aria-label={t("Refresh")} onClick={() => props.refresh?.()}>
            <RotateCw size={16} aria-hidden />
          </ActionIcon>
        )}
      </Group>
    </Group>
  );
}
