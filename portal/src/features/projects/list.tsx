import { Anchor, Badge, SegmentedControl } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { lazy, Suspense } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Project, Statistics } from "../../api/types";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Page, Time } from "../../components/ui";
import { useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { bytes, like, q } from "../../lib/format";
import { useSession } from "../../session";
import { roleName } from "./roles";

// A form is needed only when it is opened.
const NewProject = lazy(() => import("./new").then((module) => ({ default: module.NewProject })));

export function Projects() {
  const { t } = useI18n();
  const { user, admin, info } = useSession();
  const [name, setName] = useFilter("name");
  const [kind, setKind] = useFilter("access", { push: true, standard: "all" });
  const [creating, create] = useDisclosure(false);
  const visibility = kind === "private" ? false : kind === "public" ? true : undefined;
  const list = useList<Project>("/projects", {
    query: { q: q({ name: like(name), public: visibility }), with_detail: true },
    sort: "-creation_time",
    address: "",
  });
  const mayCreate = !!user && (admin || info.project_creation_restriction !== "adminonly");

  return (
    <Page title={t("Projects")} description={t("A project holds repositories and says who may use them.")}>
      {user && <Totals />}
      <ResourceTable<Project>
        name={(row) => row.name ?? ""}
        search={{ value: name, onChange: setName }}
        create={mayCreate && { label: t("New project"), run: create.open }}
        selectable={!!user}
        filters={
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
        remove={{
          may: (row) => admin || row.current_user_role_id === 1,
          run: (row) =>
            api.delete("/projects/{project_name_or_id}", { path: { project_name_or_id: row.project_id } }),
          title: (row) => t("Delete project {name}?", { name: row.name ?? "" }),
          consequence: t("A project can be deleted only when it has no repositories."),
        }}
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
    [t("Projects"), data.private_project_count + data.public_project_count],
    [t("Private projects"), data.private_project_count],
    [t("Repositories"), data.private_repo_count + data.public_repo_count],
  ];
  if (admin) {
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
