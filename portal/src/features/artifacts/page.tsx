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
import { useFilter } from "../../lib/address";
import { shortDigest } from "../../lib/format";
import { logged } from "../../lib/operations";
import { useSession } from "../../session";
import { LabelMenu, useLabels } from "../labels/choose";
import { usePermissions } from "../projects/permissions";
import { scanned } from "../scanning/follow";
import { overview } from "../scanning/severity";
import { Details } from "./annotations";
import { registryHost } from "./commands";
import { Addition } from "./files";
import { BuiltOn } from "./holders";
import { KindIcon, Platforms } from "./kind";
import { History } from "./layers";
import { Overview } from "./overview";
import { Parts } from "./platforms";
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

/** The name that was opened: the tag of the address, or the only tag of the digest, or the digest. */
function titleOf(full: string, artifact: Artifact, reference: string) {
  if (!reference.includes(":")) return `${full}:${reference}`;
  return artifact.tags?.length === 1
    ? `${full}:${artifact.tags[0].name}`
    : `${full}@${shortDigest(artifact.digest)}`;
}

function Loaded(props: { project: Project; repository: string; reference: string }) {
  const { t } = useI18n();
  const { info } = useSession();
  const { project, repository, reference } = props;
  const navigate = useNavigate();
  const [tab, setTab] = useFilter("tab", { push: true });
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
    await logged(
      type === "sbom" ? "Make SBOM" : "Scan",
      query.data ? titleOf(`${project.name}/${repository}`, query.data, reference) : reference,
      () => api.post(`${ROOT}/scan`, { path: where, body: { scan_type: type } }),
      () => scanned(where, type),
    );
    // The job is queued; what it says of itself appears a little later.
    setWatching(Date.now() + 60_000);
  }, "Started");
  const stop = useAction(
    () => api.post(`${ROOT}/scan/stop`, { path: where, body: { scan_type: "vulnerability" } }),
    "Stopped",
  );
  const labels = useLabels(project.project_id, can("artifact-label", "create"));
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
        const first = artifact.references?.length ? "platforms" : image ? "layers" : (files[0] ?? "layers");
        const tabs = [
          first,
          ...(layered ? ["layers"] : []),
          ...files,
          ...["vulnerabilities", "sbom", "accessories", "built-on", "annotations"],
        ];
        return (
          <Page
            title={titleOf(full, artifact, reference)}
            crumbs={[
              { label: t("Projects"), to: "/harbor/projects" },
              { label: project.name, to: `${base}/repositories` },
              {
                label: repository,
                to: `${base}/repositories/${encodeURIComponent(repository)}/artifacts-tab`,
              },
              { label: artifact.digest.slice(0, 19) },
            ]}
            badges={
              <>
                <KindIcon artifact={artifact} />
                {artifact.type && <Badge variant="light">{artifact.type}</Badge>}
                <Platforms artifact={artifact} most={6} />
              </>
            }
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
                    {["Pending", "Running", "Scheduled"].includes(overview(artifact)?.scan_status ?? "") ? (
                      <Button variant="default" onClick={() => stop.mutate()}>
                        {t("Stop scan")}
                      </Button>
                    ) : (
                      <Button variant="default" onClick={() => scan.mutate("vulnerability")}>
                        {t("Scan")}
                      </Button>
                    )}
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
              <Overview
                artifact={artifact}
                labels={
                  can("artifact-label", "create") && (
                    <LabelMenu
                      rows={[artifact]}
                      labels={labels}
                      path={{ project_name: project.name ?? "", repository_name: repository }}
                    />
                  )
                }
              />
              <TagsCard
                artifact={artifact}
                where={where}
                mayAdd={can("tag", "create")}
                mayDelete={can("tag", "delete")}
              />
            </div>
            <Tabs
              value={tabs.includes(tab) ? tab : tabs[0]}
              onChange={(next) => next && setTab(next)}
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
                <Tabs.Tab value="built-on">{t("Built on this")}</Tabs.Tab>
                <Tabs.Tab value="annotations">{t("Annotations and configuration")}</Tabs.Tab>
              </Tabs.List>
              {!!artifact.references?.length && (
                <Tabs.Panel value="platforms">
                  <Parts artifact={artifact} project={project} repository={repository} />
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
              <Tabs.Panel value="built-on">
                <BuiltOn where={where} name={titleOf(full, artifact, reference)} address="built_" />
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
