// An artifact: its header, and a tab for each thing that is known of it.

import { Badge, Button, Tabs } from "@mantine/core";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api } from "../../api/client";
import type { Artifact, Project } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { Await, Page } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { usePermissions } from "../projects/permissions";
import { overview } from "../scanning/severity";
import { Details } from "./annotations";
import { registryHost } from "./commands";
import { Addition } from "./files";
import { History } from "./layers";
import { Overview } from "./overview";
import { Platforms } from "./platforms";
import { PullButton } from "./pull";
import { Referrers } from "./referrers";
import { Sbom } from "./sbom";
import { TagsCard } from "./tags";
import { Vulnerabilities } from "./vulnerabilities";
import { ROOT, type Where } from "./where";

export function ArtifactPage() {
  const { project: id = "", repository = "", reference = "" } = useParams();
  const project = useGet<Project>("/projects/{project_name_or_id}", { path: { project_name_or_id: id } });
  return (
    <Await query={project}>
      {(found) => <Loaded key={reference} project={found} repository={repository} reference={reference} />}
    </Await>
  );
}

function Loaded(props: { project: Project; repository: string; reference: string }) {
  const { t } = useI18n();
  const { info } = useSession();
  const { project, repository, reference } = props;
  const navigate = useNavigate();
  const confirm = useConfirm();
  const { can } = usePermissions(project.project_id);
  const where: Where = { project_name: project.name, repository_name: repository, reference };
  const [watching, setWatching] = useState(0);
  const query = useGet<Artifact>(
    ROOT,
    {
      path: where,
      query: {
        with_tag: true,
        with_label: true,
        with_scan_overview: true,
        with_sbom_overview: true,
        with_accessory: true,
        with_immutable_status: true,
      },
    },
    {
      refetchInterval: ({ state }) => {
        const scans = [
          overview(state.data ?? ({} as Artifact))?.scan_status,
          state.data?.sbom_overview?.scan_status,
        ];
        const busy = scans.some((status) => ["Pending", "Running", "Scheduled"].includes(status ?? ""));
        return busy || Date.now() < watching ? 2000 : false;
      },
    },
  );
  const scan = useAction(async (type: "vulnerability" | "sbom") => {
    await api.post(`${ROOT}/scan`, { path: where, body: { scan_type: type } });
    // The job is queued; what it says of itself appears a little later.
    setWatching(Date.now() + 60_000);
  }, "Started");
  const remove = useAction(async () => {
    await api.delete(ROOT, { path: where });
    navigate(
      `/harbor/projects/${project.project_id}/repositories/${encodeURIComponent(repository)}/artifacts-tab`,
    );
  }, "Deleted");
  const base = `/harbor/projects/${project.project_id}`;
  const full = `${project.name}/${repository}`;

  return (
    <Await query={query}>
      {(artifact) => {
        const links = artifact.addition_links ?? {};
        const files = ["readme.md", "values.yaml", "dependencies", "files", "license"].filter(
          (name) => links[name],
        );
        const image = artifact.type === "IMAGE" && !artifact.references?.length;
        const layered = !artifact.references?.length;
        return (
          <Page
            title={artifact.tags?.length ? `${full}:${artifact.tags[0].name}` : full}
            crumbs={[
              { label: t("Projects"), to: "/harbor/projects" },
              { label: project.name, to: `${base}/repositories` },
              {
                label: repository,
                to: `${base}/repositories/${encodeURIComponent(repository)}/artifacts-tab`,
              },
              { label: artifact.digest.slice(0, 19) },
            ]}
            badges={artifact.type && <Badge variant="light">{artifact.type}</Badge>}
            actions={
              <>
                <PullButton
                  wide
                  artifact={artifact}
                  host={registryHost(info.registry_url ?? info.external_url)}
                  repository={full}
                />
                {can("scan", "create") && (
                  <>
                    <Button variant="default" onClick={() => scan.mutate("vulnerability")}>
                      {t("Scan")}
                    </Button>
                    <Button variant="default" onClick={() => scan.mutate("sbom")}>
                      {t("Make SBOM")}
                    </Button>
                  </>
                )}
                {can("artifact", "delete") && (
                  <Button
                    color="red"
                    variant="light"
                    onClick={async () => {
                      const yes = await confirm({
                        title: t("Delete this artifact?"),
                        body: t("Its tags, signatures and other accessories go with it."),
                        confirm: t("Delete"),
                        danger: true,
                      });
                      if (yes) remove.mutate();
                    }}
                  >
                    {t("Delete")}
                  </Button>
                )}
              </>
            }
          >
            <div className="grid wide">
              <Overview artifact={artifact} />
              <TagsCard
                artifact={artifact}
                where={where}
                mayAdd={can("tag", "create")}
                mayDelete={can("tag", "delete")}
              />
            </div>
            <Tabs
              defaultValue={
                artifact.references?.length ? "platforms" : image ? "layers" : (files[0] ?? "layers")
              }
              keepMounted={false}
            >
              <Tabs.List className="tabs" mb="md">
                {!!artifact.references?.length && <Tabs.Tab value="platforms">{t("Platforms")}</Tabs.Tab>}
                {layered && (
                  <Tabs.Tab value="layers">{image ? t("Layers and history") : t("Layers")}</Tabs.Tab>
                )}
                {files.map((name) => (
                  <Tabs.Tab key={name} value={name}>
                    {name}
                  </Tabs.Tab>
                ))}
                <Tabs.Tab value="vulnerabilities">{t("Vulnerabilities")}</Tabs.Tab>
                <Tabs.Tab value="sbom">{t("SBOM")}</Tabs.Tab>
                <Tabs.Tab value="accessories">{t("Signatures and referrers")}</Tabs.Tab>
                <Tabs.Tab value="annotations">{t("Annotations and configuration")}</Tabs.Tab>
              </Tabs.List>
              {!!artifact.references?.length && (
                <Tabs.Panel value="platforms">
                  <Platforms artifact={artifact} project={project} repository={repository} />
                </Tabs.Panel>
              )}
              {layered && (
                <Tabs.Panel value="layers">
                  <History where={where} image={image} />
                </Tabs.Panel>
              )}
              {files.map((name) => (
                <Tabs.Panel key={name} value={name}>
                  <Addition where={where} name={name} />
                </Tabs.Panel>
              ))}
              <Tabs.Panel value="vulnerabilities">
                <Vulnerabilities artifact={artifact} where={where} />
              </Tabs.Panel>
              <Tabs.Panel value="sbom">
                <Sbom artifact={artifact} where={where} />
              </Tabs.Panel>
              <Tabs.Panel value="accessories">
                <Referrers artifact={artifact} where={where} project={project} repository={repository} />
              </Tabs.Panel>
              <Tabs.Panel value="annotations">
                <Details artifact={artifact} />
              </Tabs.Panel>
            </Tabs>
          </Page>
        );
      }}
    </Await>
  );
}
