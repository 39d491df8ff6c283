import { Button } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Label } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page, Time } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import type { ProjectTab } from "../projects/tab";
import { LabelChip } from "./chip";

export function SystemLabels() {
  const { t } = useI18n();
  return (
    <Page title={t("Labels")} description={t("Labels that every project may use.")}>
      <LabelList scope="g" may={{ create: true, update: true, delete: true }} />
    </Page>
  );
}

export function ProjectLabels({ project, can }: ProjectTab) {
  return (
    <LabelList
      scope="p"
      project={project.project_id}
      may={{
        create: can("label", "create"),
        update: can("label", "update"),
        delete: can("label", "delete"),
      }}
    />
  );
}

function LabelList(props: {
  scope: "g" | "p";
  project?: number;
  may: { create: boolean; update: boolean; delete: boolean };
}) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [editing, setEditing] = useState<Partial<Label> | null>(null);
  const list = useList<Label>("/labels", {
    query: { scope: props.scope, project_id: props.project, name },
  });
  const remove = useAction(
    (label: Label) => api.delete("/labels/{label_id}", { path: { label_id: label.id } }),
    "Deleted",
  );
  return (
    <>
      <Toolbar search={setName} refresh={list.refetch}>
        {props.may.create && (
          <Button
            leftSection={<Plus size={16} aria-hidden />}
            onClick={() => setEditing({ color: "#0b6f85" })}
          >
            {t("New label")}
          </Button>
        )}
      </Toolbar>
      <div className="spaced">
        <DataTable
          label={t("Labels")}
          list={list}
          rowKey={(row) => row.id}
          empty={
            <Empty title={name ? t("No label matches") : t("No labels yet")}>
              {t("Labels mark artifacts, and replication can choose by them.")}
            </Empty>
          }
          columns={[
            { title: t("Label"), sort: "name", cell: (row) => <LabelChip label={row} /> },
            { title: t("Description"), cell: (row) => row.description || "–" },
            { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
          ]}
          actions={[
            { label: t("Edit"), hidden: () => !props.may.update, run: setEditing },
            {
              label: t("Delete"),
              danger: true,
              hidden: () => !props.may.delete,
              run: async (row) => {
                const yes = await confirm({
                  title: t("Delete {name}?", { name: row.name }),
                  body: t("It is taken off every artifact."),
                  confirm: t("Delete"),
                  danger: true,
                });
                if (yes) remove.mutate(row);
              },
            },
          ]}
        />
      </div>
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit label") : t("New label")}
          submit={t("Save")}
          initial={editing}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "color", label: t("Colour"), type: "color" },
            { name: "description", label: t("Description") },
          ]}
          onSubmit={async (values) => {
            const body = { ...values, scope: props.scope, project_id: props.project };
            if (editing.id) await api.put("/labels/{label_id}", { path: { label_id: editing.id }, body });
            else await api.create("/labels", { body });
            list.refetch();
          }}
        />
      )}
    </>
  );
}
