import { useState } from "react";
import { api } from "../../api/client";
import type { Label } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Page, Time } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
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
  const [name, setName] = useFilter("name");
  const [editing, setEditing] = useState<Partial<Label> | null>(null);
  const list = useList<Label>("/labels", {
    query: { scope: props.scope, project_id: props.project, name },
    address: "",
  });
  const path = (row: Partial<Label>) => ({ label_id: row.id });
  return (
    <>
      <ResourceTable<Label>
        label={t("Labels")}
        list={list}
        rowKey={(row) => row.id}
        name={(row) => row.name}
        search={{ value: name, onChange: setName }}
        create={props.may.create && { label: t("New label"), run: () => setEditing({ color: "#0b6f85" }) }}
        selectable={props.may.delete}
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
        actions={[{ label: t("Edit"), hidden: () => !props.may.update, run: setEditing }]}
        remove={
          props.may.delete && {
            run: (row) => api.delete("/labels/{label_id}", { path: path(row) }),
            consequence: t("It is taken off every artifact."),
          }
        }
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.id ? t("Edit label") : t("New label")}
          submit={t("Save")}
          initial={{ ...editing, scope: props.scope, project_id: props.project }}
          load={editing.id ? () => api.get("/labels/{label_id}", { path: path(editing) }) : undefined}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "color", label: t("Colour"), type: "color" },
            { name: "description", label: t("Description") },
          ]}
          onSubmit={(body) =>
            editing.id
              ? api.put("/labels/{label_id}", { path: path(editing), body })
              : api.create("/labels", { body })
          }
        />
      )}
    </>
  );
}
