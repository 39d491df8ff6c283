// A project: its header, and one tab for each thing it has.

import { Badge, Tabs } from "@mantine/core";
import { type ComponentType, Suspense } from "react";
import { Navigate, useNavigate, useParams } from "react-router";
import type { Project } from "../../api/types";
import { Await, Empty, Loading, Page } from "../../components/ui";
import { useGet } from "../../hooks";
import { type Text, useI18n } from "../../i18n";
import { part } from "../../lib/pages";
import { useSession } from "../../session";
import { usePermissions } from "./permissions";
import { roleName } from "./roles";
import type { ProjectTab } from "./tab";

const tab = <K extends string>(load: () => Promise<Record<K, ComponentType<ProjectTab>>>, name: K) =>
  part<K, ProjectTab>(load, name);

type Entry = {
  id: string;
  label: Text;
  component: ComponentType<ProjectTab>;
  shown: (tab: ProjectTab, signedIn: boolean) => boolean;
};
const TABS: Entry[] = [
  {
    id: "summary",
    label: "Summary",
    component: tab(() => import("./summary"), "Summary"),
    shown: (_, signedIn) => signedIn,
  },
  {
    id: "repositories",
    label: "Repositories",
    component: tab(() => import("../repositories/list"), "Repositories"),
    shown: () => true,
  },
  {
    id: "members",
    label: "Members",
    component: tab(() => import("./members"), "Members"),
    shown: ({ can }) => can("member", "list"),
  },
  {
    id: "labels",
    label: "Labels",
    component: tab(() => import("../labels/list"), "ProjectLabels"),
    shown: ({ can }) => can("label", "list") || can("label", "read"),
  },
  {
    id: "scanner",
    label: "Scanner",
    component: tab(() => import("./scanner"), "ProjectScanner"),
    shown: ({ can }) => can("scanner", "read"),
  },
  {
    id: "tag-strategy",
    label: "Policies",
    component: tab(() => import("../policies/page"), "Policies"),
    shown: ({ can }) => can("tag-retention", "read") || can("immutable-tag", "list"),
  },
  {
    id: "robot-account",
    label: "Robot accounts",
    component: tab(() => import("../robots/list"), "ProjectRobots"),
    shown: ({ can }) => can("robot", "list"),
  },
  {
    id: "webhook",
    label: "Webhooks",
    component: tab(() => import("../webhooks/list"), "Webhooks"),
    shown: ({ can }) => can("notification-policy", "list"),
  },
  {
    id: "p2p-provider",
    label: "P2P preheat",
    component: tab(() => import("../preheat/policies"), "Preheat"),
    shown: ({ can }) => can("preheat-policy", "list"),
  },
  {
    id: "logs",
    label: "Logs",
    component: tab(() => import("../logs/page"), "ProjectLogs"),
    shown: ({ can }) => can("log", "list"),
  },
  {
    id: "configs",
    label: "Configuration",
    component: tab(() => import("./configuration"), "ProjectConfiguration"),
    shown: ({ can }) => can("configuration", "read") || can("metadata", "read"),
  },
];

export function ProjectPage() {
  const { project: id = "" } = useParams();
  const query = useGet<Project>("/projects/{project_name_or_id}", { path: { project_name_or_id: id } });
  return <Await query={query}>{(project) => <Loaded project={project} />}</Await>;
}

function Loaded({ project }: { project: Project }) {
  const { t } = useI18n();
  const { user, admin } = useSession();
  const { tab: active } = useParams();
  const navigate = useNavigate();
  const { can, ready } = usePermissions(project.project_id);
  if (!active) return <Navigate to={`/harbor/projects/${project.project_id}/repositories`} replace />;
  const props = { project, can };
  const tabs = TABS.filter((entry) => entry.shown(props, !!user));
  const current = tabs.find((entry) => entry.id === active);
  const Body = current?.component;
  return (
    <Page
      title={project.name}
      crumbs={[{ label: t("Projects"), to: "/harbor/projects" }, { label: project.name }]}
      badges={
        <>
          <Badge variant="light" tt="none" color={project.metadata?.public === "true" ? "teal" : "gray"}>
            {project.metadata?.public === "true" ? t("Public") : t("Private")}
          </Badge>
          {!!project.registry_id && (
            <Badge variant="light" tt="none">
              {t("Proxy cache")}
            </Badge>
          )}
          {user && (project.current_user_role_id || admin) && (
            <Badge variant="outline" tt="none" color="gray">
              {roleName(t, project.current_user_role_id, admin)}
            </Badge>
          )}
        </>
      }
    >
      {!ready ? (
        <Loading />
      ) : (
        <Tabs
          value={current?.id ?? null}
          onChange={(next) => navigate(`/harbor/projects/${project.project_id}/${next}`)}
          keepMounted={false}
        >
          <Tabs.List className="tabs" mb="md" aria-label={project.name}>
            {tabs.map((entry) => (
              <Tabs.Tab key={entry.id} value={entry.id}>
                {t(entry.label)}
              </Tabs.Tab>
            ))}
          </Tabs.List>
          {current && Body ? (
            <Tabs.Panel value={current.id}>
              <Suspense fallback={<Loading />}>
                <Body {...props} />
              </Suspense>
            </Tabs.Panel>
          ) : (
            <Empty title={t("This page does not exist")}>{t("Or you are not allowed to see it.")}</Empty>
          )}
        </Tabs>
      )}
    </Page>
  );
}
