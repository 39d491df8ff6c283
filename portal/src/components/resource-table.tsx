// The list of things that people make, change and delete: toolbar, selection bar, and deletion that asks first.
import { Button, Group, Stack, Text } from "@mantine/core";
import { Plus } from "lucide-react";
import { type ReactNode, useState } from "react";
import { useBulk } from "../hooks";
import { useI18n } from "../i18n";
import { useConfirm } from "./confirm";
import { DataTable, type RowAction, type Selection, Toolbar } from "./table";

export interface Removal<T> {
  run: (row: T) => Promise<unknown>;
  /** What goes with it, or stays. */
  consequence: string;
  may?: (row: T) => boolean;
  /** "Remove" for what goes on to exist elsewhere. */
  word?: string;
  title?: (row: T) => string;
}

export function ResourceTable<T>(
  props: Omit<Parameters<typeof DataTable<T>>[0], "selected" | "onSelect"> & {
    /** What people call a row, in questions and notices. */
    name: (row: T) => string;
    search?: { value: string; onChange: (value: string) => void; placeholder?: string };
    filters?: ReactNode;
    create?: { label: string; run: () => void } | false;
    buttons?: ReactNode;
    remove?: Removal<T> | false;
    /** Rows can be selected; `bulk` gives the buttons for those that are. Deletion is there by itself. */
    selectable?: boolean;
    bulk?: (rows: T[], clear: () => void) => ReactNode;
    toolbar?: boolean;
  },
) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const { list, remove, rowKey, name } = props;
  const removal = remove || undefined;
  const [selected, setSelected] = useState<Selection<T>>(new Map());
  const clear = () => setSelected(new Map());
  const deletion = useBulk<T>({
    run: async (row) => remove && (await remove.run(row)),
    name,
    done: (n) => (removal?.word ? t("Removed") : n === 1 ? t("Deleted") : t("{n} deleted", { n })),
    failed: (what) => t("Could not delete {name}", { name: what }),
    label: removal?.word ? "Remove" : "Delete",
  });
  const word = removal?.word || t("Delete");
  const ask = async (rows: T[]) => {
    if (!remove) return;
    const yes = await confirm({
      title:
        rows.length === 1
          ? (remove.title?.(rows[0]) ?? t("Delete {name}?", { name: name(rows[0]) }))
          : t("Delete these {n}?", { n: rows.length }),
      body: (
        <Stack gap="xs">
          {rows.length > 1 && (
            <ul className="consequences">
              {rows.slice(0, 10).map((row) => (
                <li key={rowKey(row)}>{name(row)}</li>
              ))}
              {rows.length > 10 && <li>{t("and {n} more", { n: rows.length - 10 })}</li>}
            </ul>
          )}
          <span>{remove.consequence}</span>
        </Stack>
      ),
      confirm: word,
      danger: true,
    });
    if (!yes) return;
    const gone = await deletion.run(rows);
    setSelected((old) => {
      const next = new Map(old);
      for (const row of gone) next.delete(rowKey(row));
      return next;
    });
  };
  const actions: RowAction<T>[] = [...(props.actions ?? [])];
  if (remove) {
    actions.push({
      label: word,
      danger: true,
      hidden: (row) => remove.may?.(row) === false,
      run: (row) => void ask([row]),
    });
  }
  // A row that was refreshed since it was chosen goes by its newest state.
  const newest = new Map(list.rows.map((row) => [rowKey(row), row]));
  const chosen = [...selected].map(([key, row]) => newest.get(key) ?? row);
  const elsewhere = [...selected.keys()].filter((key) => !newest.has(key)).length;
  const deletable = remove ? chosen.filter((row) => remove.may?.(row) !== false) : [];
  return (
    <Stack gap="sm">
      {props.toolbar !== false && (
        <Toolbar
          search={props.search?.onChange}
          value={props.search?.value}
          placeholder={props.search?.placeholder}
          refresh={list.refetch}
          left={props.filters}
        >
          {props.buttons}
          {props.create && (
            <Button leftSection={<Plus size={16} aria-hidden />} onClick={props.create.run}>
              {props.create.label}
            </Button>
          )}
        </Toolbar>
      )}
      {props.selectable && selected.size > 0 && (
        <section className="selection" aria-label={t("Selection")}>
          <Group gap="sm">
            <Text size="sm" fw={600} aria-live="polite" className="nowrap">
              {t("{n} selected", { n: selected.size })}
              {elsewhere > 0 && ` · ${t("{n} on other pages", { n: elsewhere })}`}
            </Text>
            <Button size="compact-sm" variant="subtle" onClick={clear}>
              {t("Clear selection")}
            </Button>
          </Group>
          <Group gap="xs">
            {props.bulk?.(chosen, clear)}
            {deletable.length > 0 && (
              <Button
                size="xs"
                color="red"
                variant="light"
                loading={deletion.busy}
                onClick={() => void ask(deletable)}
              >
                {deletable.length === 1 ? word : t("Delete {n}", { n: deletable.length })}
              </Button>
            )}
          </Group>
        </section>
      )}
      <DataTable<T>
        {...props}
        actions={actions.length ? actions : undefined}
        selected={props.selectable ? selected : undefined}
        onSelect={props.selectable ? setSelected : undefined}
      />
    </Stack>
  );
}
