// Labels put on artifacts and taken off them, several at a time.
import { Button, Menu } from "@mantine/core";
import { ChevronDown } from "lucide-react";
import { api } from "../../api/client";
import type { Artifact, Label } from "../../api/types";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { LabelChip } from "./chip";

/** The system's labels and the project's. */
export function useLabels(project: number, enabled: boolean): Label[] {
  const query = (scope: string) => ({
    query: { scope, page_size: 100, project_id: scope === "p" ? project : undefined },
  });
  const system = useGet<Label[]>("/labels", query("g"), { enabled, retry: false });
  const own = useGet<Label[]>("/labels", query("p"), { enabled, retry: false });
  return [...(system.data ?? []), ...(own.data ?? [])];
}

const LABELS = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels";

export function LabelMenu(props: {
  rows: Artifact[];
  labels: Label[];
  path: { project_name: string; repository_name: string };
}) {
  const { t } = useI18n();
  const { rows, labels } = props;
  const has = (row: Artifact, label: Label) => !!row.labels?.some((item) => item.id === label.id);
  const change = useAction(
    async ({ label, on }: { label: Label; on: boolean }) => {
      for (const row of rows.filter((item) => has(item, label) !== on)) {
        const path = { ...props.path, reference: row.digest };
        if (on) await api.post(LABELS, { path, body: { id: label.id } });
        else await api.delete(`${LABELS}/{label_id}`, { path: { ...path, label_id: label.id } });
      }
    },
    undefined,
    ({ label }) => t("Could not change the label {name}", { name: label.name }),
  );
  return (
    <Menu closeOnItemClick={false} position="bottom-end">
      <Menu.Target>
        <Button
          size="xs"
          variant="default"
          loading={change.isPending}
          rightSection={<ChevronDown size={14} aria-hidden />}
        >
          {t("Labels")}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {labels.map((label) => {
          const count = rows.filter((row) => has(row, label)).length;
          return (
            <Menu.CheckboxItem
              key={label.id}
              checked={count === rows.length}
              onChange={() => change.mutate({ label, on: count !== rows.length })}
            >
              <LabelChip label={label} />
              {count > 0 && count < rows.length && ` (${count}/${rows.length})`}
            </Menu.CheckboxItem>
          );
        })}
        {!labels.length && <Menu.Label>{t("No labels yet")}</Menu.Label>}
      </Menu.Dropdown>
    </Menu>
  );
}
