import { Anchor, Badge, Button, SegmentedControl } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Plus } from "lucide-react";
import { lazy, Suspense, useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Project, Statistics } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page, Time } from "../../components/ui";
import { bytes, like, q } from "../../format";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { roleName } from "./roles";

// A form is needed only when it is opened.
const NewProject = lazy(() => import("./new").then((module) => ({ default: module.NewProject })));

export function Projects() {
  const { t } = useI18n();
  const { user, admin, info } = useSession();
  const [name, setName] = useState("");
  const [kind, setKind] = useState("all");
  const [creating, create] = useDisclosure(false);
  const confirm = useConfirm();
  const visibility = kind === "private" ? false : kind === "public" ? true : undefined;
  const list = useList<Project>("/projects", {
    query: { q: q({ name: like(name), public: visibility }), with_detail: true },
    sort: "-creation_time",
  });
  const remove = useAction(
    (project: Project) =>
      api.delete("/projects/{project_name_or_id}", { path: { project_name_or_id: project.project_id } }),
    "Project deleted",
  );
  const mayCreate = !!user && (admin || info.project_creation_restriction !== "adminonly");

  return (
    <Page
      title={t("Projects")}
      description={t("A project holds repositories and says who may use them.")}
      actions={
        mayCreate && (
          <Button leftSection={<Plus size={16} aria-hidden />} onClick={create.open}>
            {t("New project")}
          </Button>
        )
      }
    >
      {user && <Totals />}
      <Toolbar
        search={setName}
        refresh={list.refetch}
        left={
          <SegmentedControl
            aria-label={t("Access level")}
            value={kind}
            onChange={setKind}
            data={[
              { value: "all", label: t("All") },
              { value: "private", label: t("Private") },
              { value: "public", label: t("Public") },
            ]}
          />
        }
      />
      <DataTable
        label={t("Projects")}
        list={list}
        rowKey={(row) => row.project_id}
        empty={
          <Empty title={name || kind !== "all" ? t("No project matches") : t("No projects yet")}>
            {mayCreate
              ? t("Create a project, then push to it.")
              : t("Ask an administrator to make you a member of a project.")}
          </Empty>
        }
        columns={[
          {
            title: t("Project"),
            sort: "name",
            cell: (row) => (
              <Anchor component={Link} to={`/harbor/projects/${row.project_id}/repositories`} fw={600}>
                {row.name}
              </Anchor>
            ),
          },
          {
            title: t("Access level"),
            cell: (row) =>
              row.metadata?.public === "true" ? (
                <Badge variant="light" color="teal" tt="none">
                  {t("Public")}
                </Badge>
              ) : (
                <Badge variant="light" color="gray" tt="none">
                  {t("Private")}
                </Badge>
              ),
          },
          { title: t("Your role"), cell: (row) => roleName(t, row.current_user_role_id, admin) },
          { title: t("Type"), cell: (row) => (row.registry_id ? t("Proxy cache") : t("Project")) },
          { title: t("Repositories"), align: "right", cell: (row) => row.repo_count ?? 0 },
          { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          {
            label: t("Delete"),
            danger: true,
            hidden: (row) => !(admin || row.current_user_role_id === 1),
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete project {name}?", { name: row.name }),
                body: t("A project can be deleted only when it has no repositories."),
                confirm: t("Delete"),
                danger: true,
              });
              if (yes) remove.mutate(row);
            },
          },
        ]}
      />
      {creating && (
        <Suspense fallback={null}>
          <NewProject onClose={create.close} />
        </Suspense>
      )}
    </Page>
  );
}

function Totals() {
  const { t } = useI18n();
  const { admin } = useSession();
  const { data } = useGet<Statistics>("/statistics");
  if (!data) return null;
  const items: [string, string | number][] = [
    [
      t("Projects"),
      (data.total_project_count ?? (data.private_project_count ?? 0) + (data.public_project_count ?? 0)) || 0,
    ],
    [t("Private projects"), data.private_project_count ?? 0],
    [
      t("Repositories"),
      data.total_repo_count ?? (data.private_repo_count ?? 0) + (data.public_repo_count ?? 0),
    ],
  ];
  if (admin && data.total_storage_consumption !== undefined) {
    items.push([t("Storage used"), bytes(data.total_storage_consumption)]);
  }
  return (
    <div className="grid stats">
      {items.map(([label, value]) => (
        <div className="card stat" key={label}>
          <b>{value}</b>
          <span>{label}</span>
        </div>
      ))}
    </div>
  );
}
