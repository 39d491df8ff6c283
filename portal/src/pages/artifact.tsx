// An artifact: tags, platforms, layers and history, vulnerabilities, SBOM, signatures and referrers.
import { ActionIcon, Anchor, Badge, Button, Group, Stack, Table, Tabs, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Download, Lock, Trash2 } from "lucide-react";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api, url } from "../api/client";
import type {
  Accessory,
  Artifact,
  HistoryEntry,
  Project,
  SignatureVerdict,
  Tag,
  Vulnerability,
  VulnerabilityReport,
} from "../api/types";
import { registryHost } from "../commands";
import { useConfirm } from "../components/confirm";
import { LogModal } from "../components/dialogs";
import { LabelChip } from "../components/label";
import { overview, SEVERITIES, Severity, SeverityBar } from "../components/severity";
import { DataTable } from "../components/table";
import {
  Await,
  Card,
  Copyable,
  DateTime,
  Digest,
  Empty,
  Facts,
  Failure,
  Loading,
  Page,
  Status,
  Time,
} from "../components/ui";
import { bytes, dateTime } from "../format";
import { useAction, useGet } from "../hooks";
import { useI18n } from "../i18n";
import { useSession } from "../session";
import { usePermissions } from "./project";
import { artifactPath, isSignature, PullButton } from "./repository";

const ROOT = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}";
type Where = { project_name: string; repository_name: string; reference: string };

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

function Overview({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const extra = artifact.extra_attrs ?? {};
  const platform = [extra.os, extra.architecture].filter((part) => typeof part === "string").join("/");
  const report = overview(artifact);
  return (
    <Card title={t("Overview")}>
      <Facts
        items={[
          [t("Digest"), <Digest key="d" value={artifact.digest} />],
          [t("Media type"), artifact.manifest_media_type ?? artifact.media_type ?? "–"],
          ...(artifact.artifact_type
            ? ([[t("Artifact type"), artifact.artifact_type]] as [string, string][])
            : []),
          ...(platform ? ([[t("Platform"), platform]] as [string, string][]) : []),
          [t("Size"), bytes(artifact.size)],
          [t("Pushed"), <DateTime key="p" value={artifact.push_time} />],
          [t("Pulled"), <Time key="l" value={artifact.pull_time} />],
          [
            t("Labels"),
            artifact.labels?.length ? (
              <Group gap={8} key="b">
                {artifact.labels.map((label) => (
                  <LabelChip key={label.id} label={label} />
                ))}
              </Group>
            ) : (
              "–"
            ),
          ],
          [t("Last scan"), report ? <Status key="s" value={report.scan_status} /> : t("Not scanned")],
        ]}
      />
    </Card>
  );
}

function TagsCard(props: { artifact: Artifact; where: Where; mayAdd: boolean; mayDelete: boolean }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const { artifact, where } = props;
  const tags = artifact.tags ?? [];
  const add = useAction(async (tag: string) => {
    await api.create(`${ROOT}/tags`, { path: where, body: { name: tag } });
    setName("");
  }, "Tag added");
  const remove = useAction(
    (tag: Tag) => api.delete(`${ROOT}/tags/{tag_name}`, { path: { ...where, tag_name: tag.name } }),
    "Deleted",
  );
  return (
    <Card title={t("Tags")}>
      <Stack gap="xs">
        {tags.length ? (
          <Table aria-label={t("Tags")}>
            <Table.Tbody>
              {tags.map((tag) => (
                <Table.Tr key={tag.id}>
                  <Table.Td>
                    <Copyable value={tag.name}>
                      <Text fw={600} size="sm">
                        {tag.name}
                      </Text>
                    </Copyable>
                  </Table.Td>
                  <Table.Td>
                    {tag.immutable && (
                      <Badge
                        variant="light"
                        color="gray"
                        tt="none"
                        leftSection={<Lock size={10} aria-hidden />}
                      >
                        {t("Immutable")}
                      </Badge>
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Time value={tag.push_time} />
                  </Table.Td>
                  <Table.Td ta="right">
                    {props.mayDelete && (
                      <ActionIcon
                        variant="subtle"
                        color="red"
                        disabled={tag.immutable}
                        aria-label={t("Delete tag {name}", { name: tag.name })}
                        onClick={async () => {
                          const yes = await confirm({
                            title: t("Delete tag {name}?", { name: tag.name }),
                            body: t("The artifact stays, without this tag."),
                            confirm: t("Delete"),
                            danger: true,
                          });
                          if (yes) remove.mutate(tag);
                        }}
                      >
                        <Trash2 size={15} aria-hidden />
                      </ActionIcon>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        ) : (
          <Text size="sm" c="dimmed">
            {t("This artifact has no tag.")}
          </Text>
        )}
        {props.mayAdd && (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (name.trim()) add.mutate(name.trim());
            }}
          >
            <Group gap="xs">
              <TextInput
                size="xs"
                placeholder={t("New tag")}
                aria-label={t("New tag")}
                value={name}
                error={!!name && !/^\w[\w.-]{0,127}$/.test(name)}
                onChange={(event) => setName(event.currentTarget.value)}
              />
              <Button size="xs" type="submit" variant="default" loading={add.isPending}>
                {t("Add")}
              </Button>
            </Group>
          </form>
        )}
      </Stack>
    </Card>
  );
}

function Platforms(props: { artifact: Artifact; project: Project; repository: string }) {
  const { t } = useI18n();
  return (
    <DataTable
      label={t("Platforms")}
      list={{ rows: props.artifact.references ?? [] }}
      rowKey={(row) => row.child_digest}
      empty={null}
      columns={[
        {
          title: t("Artifact"),
          cell: (row) => (
            <Digest
              value={row.child_digest}
              to={artifactPath(props.project.project_id, props.repository, row.child_digest)}
            />
          ),
        },
        {
          title: t("Platform"),
          cell: (row) =>
            [row.platform?.os, row.platform?.architecture, row.platform?.variant].filter(Boolean).join("/") ||
            "–",
        },
        {
          title: t("Annotations"),
          cell: (row) => (
            <Text size="xs" c="dimmed">
              {Object.entries(row.annotations ?? {})
                .map(([name, value]) => `${name}=${value}`)
                .join(", ") || "–"}
            </Text>
          ),
        },
      ]}
    />
  );
}

interface Blob {
  digest: string;
  mediaType: string;
  size: number;
  annotations?: Record<string, string>;
}

/** Each step of the build with the layer it made, or the layers alone when the config has no history. */
function History({ where, image }: { where: Where; image: boolean }) {
  const { t } = useI18n();
  const query = useQuery({
    queryKey: ["layers", where],
    queryFn: async ({ signal }) => {
      const addition = (name: string) => ({ path: { ...where, addition: name }, signal });
      const [manifest, history] = await Promise.all([
        api.get<{ layers?: Blob[] }>(`${ROOT}/additions/{addition}`, addition("manifest")),
        image
          ? api.get<HistoryEntry[]>(`${ROOT}/additions/{addition}`, addition("build_history"))
          : Promise.resolve([]),
      ]);
      const layers = [...(manifest.layers ?? [])];
      const steps: (HistoryEntry & { layer?: Blob })[] = (history ?? []).map((entry) => ({
        ...entry,
        layer: entry.empty_layer ? undefined : layers.shift(),
      }));
      return [...steps, ...layers.map((layer) => ({ layer }) as HistoryEntry & { layer?: Blob })];
    },
  });
  return (
    <Await query={query}>
      {(steps) => (
        <DataTable
          label={image ? t("Layers and history") : t("Layers")}
          list={{ rows: steps.map((entry, index) => ({ ...entry, index })) }}
          rowKey={(row) => row.index}
          empty={<Empty title={t("No layers")} />}
          columns={[
            { title: "#", cell: (row) => row.index + 1 },
            image
              ? {
                  title: t("Command"),
                  cell: (row) => (
                    <Text ff="monospace" size="xs" className="markdown">
                      {(row.created_by ?? row.comment ?? "").replace(/^\/bin\/sh -c (#\(nop\)\s*)?/, "") ||
                        "–"}
                    </Text>
                  ),
                }
              : {
                  title: t("File"),
                  cell: (row) =>
                    row.layer?.annotations?.["org.opencontainers.image.title"] ?? row.layer?.mediaType,
                },
            {
              title: t("Layer"),
              cell: (row) =>
                row.layer ? (
                  <Digest value={row.layer.digest} />
                ) : (
                  <Text size="xs" c="dimmed">
                    {t("none")}
                  </Text>
                ),
            },
            {
              title: t("Size"),
              align: "right",
              cell: (row) => <span className="nowrap">{row.layer ? bytes(row.layer.size) : "–"}</span>,
            },
            { title: t("Created"), cell: (row) => <DateTime value={row.created} /> },
          ]}
        />
      )}
    </Await>
  );
}

function Addition({ where, name }: { where: Where; name: string }) {
  const { t } = useI18n();
  const query = useQuery({
    queryKey: ["addition", where, name],
    queryFn: ({ signal }) =>
      api.text(`${ROOT}/additions/{addition}`, { path: { ...where, addition: name }, signal }),
  });
  return (
    <Await query={query}>
      {(text) => {
        let shown = text;
        if (name === "dependencies") {
          try {
            shown = JSON.stringify(JSON.parse(text), null, 2);
          } catch {
            // Shown as it came.
          }
        }
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          <pre className="code-block markdown" tabIndex={0}>
            {shown || t("Empty")}
          </pre>
        );
      }}
    </Await>
  );
}

const REPORT_TYPES =
  "application/vnd.security.vulnerability.report; version=1.1, application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0";

function Vulnerabilities({ artifact, where }: { artifact: Artifact; where: Where }) {
  const { t, word } = useI18n();
  const report = overview(artifact);
  const [filter, setFilter] = useState("");
  const [log, setLog] = useState(false);
  const done = report?.scan_status === "Success";
  const query = useQuery({
    queryKey: ["vulnerabilities", where, report?.report_id],
    enabled: done,
    queryFn: async ({ signal }) => {
      const reports = await api.get<Record<string, VulnerabilityReport>>(
        `${ROOT}/additions/vulnerabilities`,
        {
          path: where,
          headers: { "X-Accept-Vulnerabilities": REPORT_TYPES },
          signal,
        },
      );
      return Object.values(reports ?? {})[0] ?? {};
    },
  });
  if (!report) {
    return (
      <Empty title={t("Not scanned")}>
        {t("Start a scan with the button above, or let the project scan every push.")}
      </Empty>
    );
  }
  const logs = report.report_id && (
    <>
      <Button size="xs" variant="default" onClick={() => setLog(true)}>
        {t("Log")}
      </Button>
      <LogModal
        title={t("Log of the scan")}
        source={
          log
            ? {
                template: `${ROOT}/scan/{report_id}/log`,
                options: { path: { ...where, report_id: report.report_id } },
              }
            : null
        }
        live={!done && report.scan_status !== "Error"}
        onClose={() => setLog(false)}
      />
    </>
  );
  if (!done) {
    return (
      <Card title={t("Scan")}>
        <Group>
          <Status value={report.scan_status} />
          {report.complete_percent !== undefined && <Text size="sm">{report.complete_percent} %</Text>}
          {logs}
        </Group>
      </Card>
    );
  }
  const words = filter.toLowerCase();
  return (
    <Await query={query}>
      {(found) => {
        const all = found.vulnerabilities ?? [];
        const rank = (item: Vulnerability) =>
          SEVERITIES.indexOf(item.severity as (typeof SEVERITIES)[number]);
        const rows = all
          .filter(
            (item) => !words || `${item.id} ${item.package} ${item.severity}`.toLowerCase().includes(words),
          )
          .sort((a, b) => rank(a) - rank(b) || a.id.localeCompare(b.id));
        return (
          <Stack gap="md">
            <Card>
              <Group justify="space-between">
                <Stack gap={6} flex={1} maw={520}>
                  <SeverityBar counts={report.summary?.summary ?? {}} />
                  <Group gap="md">
                    {SEVERITIES.filter((name) => report.summary?.summary?.[name]).map((name) => (
                      <span key={name} className="sev">
                        <i className={`sev-${name.toLowerCase()}`} aria-hidden />
                        {report.summary?.summary?.[name]} {word(name)}
                      </span>
                    ))}
                    <Text size="sm" c="dimmed">
                      {t("{n} can be fixed", { n: report.summary?.fixable ?? 0 })}
                    </Text>
                  </Group>
                </Stack>
                <Group gap="sm">
                  <Text size="sm" c="dimmed">
                    {[found.scanner?.name ?? report.scanner?.name, found.scanner?.version]
                      .filter(Boolean)
                      .join(" ")}{" "}
                    · <Time value={report.end_time ?? found.generated_at} />
                  </Text>
                  {logs}
                </Group>
              </Group>
            </Card>
            {all.length > 0 && (
              <TextInput
                type="search"
                maw={320}
                aria-label={t("Filter by CVE, package or severity")}
                placeholder={t("Filter by CVE, package or severity")}
                onChange={(event) => setFilter(event.currentTarget.value)}
              />
            )}
            <Paged rows={rows}>
              {(part) => (
                <DataTable
                  label={t("Vulnerabilities")}
                  list={{ rows: part }}
                  rowKey={(row) => `${row.id} ${row.package} ${row.version}`}
                  empty={<Empty title={all.length ? t("Nothing matches") : t("No vulnerabilities")} />}
                  expand={(row) => (
                    <Stack gap={6}>
                      <Text size="sm" className="markdown">
                        {row.description || t("No description.")}
                      </Text>
                      {row.links?.map((link) => (
                        <Anchor key={link} href={link} size="sm" target="_blank" rel="noreferrer noopener">
                          {link}
                        </Anchor>
                      ))}
                    </Stack>
                  )}
                  columns={[
                    { title: "CVE", cell: (row) => <b>{row.id}</b> },
                    { title: t("Severity"), cell: (row) => <Severity value={row.severity} /> },
                    { title: "CVSS", cell: (row) => row.preferred_cvss?.score_v3 || "–" },
                    { title: t("Package"), cell: (row) => row.package },
                    { title: t("Version"), cell: (row) => <code>{row.version}</code> },
                    {
                      title: t("Fixed in"),
                      cell: (row) =>
                        row.fix_version ? <code>{row.fix_version}</code> : <Text c="dimmed">–</Text>,
                    },
                  ]}
                />
              )}
            </Paged>
          </Stack>
        );
      }}
    </Await>
  );
}

/** Long lists that came whole are shown a part at a time, so the page stays quick. */
function Paged<T>({ rows, children }: { rows: T[]; children: (part: T[]) => React.ReactNode }) {
  const { t } = useI18n();
  const [shown, setShown] = useState(50);
  return (
    <>
      {children(rows.slice(0, shown))}
      {rows.length > shown && (
        <Button variant="default" onClick={() => setShown(shown + 200)}>
          {t("Show more ({n} left)", { n: rows.length - shown })}
        </Button>
      )}
    </>
  );
}

interface Component {
  name: string;
  version: string;
  license: string;
  purl: string;
}

// SPDX and CycloneDX name the same things differently.
function components(document: any): Component[] {
  if (Array.isArray(document?.components)) {
    return document.components.map((item: any) => ({
      name: item.name ?? "",
      version: item.version ?? "",
      license: (item.licenses ?? [])
        .map((one: any) => one.expression ?? one.license?.id ?? one.license?.name)
        .filter(Boolean)
        .join(", "),
      purl: item.purl ?? "",
    }));
  }
  if (Array.isArray(document?.packages)) {
    return document.packages.map((item: any) => ({
      name: item.name ?? "",
      version: item.versionInfo ?? "",
      license:
        [item.licenseConcluded, item.licenseDeclared].find((one) => one && one !== "NOASSERTION") ?? "",
      purl:
        (item.externalRefs ?? []).find((one: any) => one.referenceType === "purl")?.referenceLocator ?? "",
    }));
  }
  return [];
}

function Sbom({ artifact, where }: { artifact: Artifact; where: Where }) {
  const { t } = useI18n();
  const [filter, setFilter] = useState("");
  const attached = (artifact.accessories ?? []).find((item) => item.type.startsWith("sbom"));
  const digest = artifact.sbom_overview?.sbom_digest ?? attached?.digest;
  const status = artifact.sbom_overview?.scan_status;
  const query = useQuery({
    queryKey: ["sbom", where, digest],
    enabled: !!digest,
    queryFn: ({ signal }) =>
      api.text(`${ROOT}/additions/{addition}`, {
        path: { ...where, reference: digest, addition: "sbom" },
        signal,
      }),
  });
  if (!digest) {
    return status ? (
      <Card title={t("SBOM")}>
        <Status value={status} />
      </Card>
    ) : (
      <Empty title={t("No SBOM")}>
        {t("Make one with the button above, or attach one with your own tools.")}
      </Empty>
    );
  }
  if (query.isPending) return <Loading />;
  if (query.error) return <Failure error={query.error} retry={query.refetch} />;
  let list: Component[] = [];
  try {
    list = components(JSON.parse(query.data));
  } catch {
    // An SBOM in another form can still be downloaded.
  }
  const words = filter.toLowerCase();
  const rows = list.filter(
    (item) => !words || `${item.name} ${item.purl} ${item.license}`.toLowerCase().includes(words),
  );
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <TextInput
          type="search"
          w={320}
          aria-label={t("Filter by package or licence")}
          placeholder={t("Filter by package or licence")}
          onChange={(event) => setFilter(event.currentTarget.value)}
        />
        <Button
          component="a"
          variant="default"
          leftSection={<Download size={15} aria-hidden />}
          href={url(`${ROOT}/additions/{addition}`, {
            path: { ...where, reference: digest, addition: "sbom" },
          })}
          download="sbom.json"
        >
          {t("Download SBOM")}
        </Button>
      </Group>
      <Paged rows={rows}>
        {(part) => (
          <DataTable
            label={t("SBOM")}
            list={{ rows: part.map((item, index) => ({ ...item, index })) }}
            rowKey={(row) => row.index}
            empty={<Empty title={list.length ? t("Nothing matches") : t("The SBOM lists no packages")} />}
            columns={[
              { title: t("Package"), cell: (row) => <b>{row.name}</b> },
              { title: t("Version"), cell: (row) => <code>{row.version || "–"}</code> },
              { title: t("Licence"), cell: (row) => row.license || "–" },
              {
                title: "purl",
                cell: (row) => (
                  <Text ff="monospace" size="xs">
                    {row.purl || "–"}
                  </Text>
                ),
              },
            ]}
          />
        )}
      </Paged>
    </Stack>
  );
}

type Place = { where: Where; project: Project; repository: string };

function Referrers({ artifact, ...place }: Place & { artifact: Artifact }) {
  const { t } = useI18n();
  const verdicts = useGet<SignatureVerdict[]>(`${ROOT}/signatures`, { path: place.where });
  return (
    <Card title={t("What refers to this artifact")}>
      <ul className="tree">
        <li>
          <div className="node">
            <Badge variant="light">{artifact.type ?? t("Artifact")}</Badge>
            <Digest value={artifact.digest} />
            <Text size="sm" c="dimmed">
              {t("this artifact")}
            </Text>
          </div>
          <Branch place={place} reference={artifact.digest} depth={0} verdicts={verdicts.data ?? []} />
        </li>
      </ul>
    </Card>
  );
}

function Branch(props: { place: Place; reference: string; depth: number; verdicts: SignatureVerdict[] }) {
  const { place, reference, depth, verdicts } = props;
  const { t } = useI18n();
  const query = useGet<Accessory[]>(`${ROOT}/accessories`, {
    path: { ...place.where, reference },
    query: { page_size: 100 },
  });
  if (query.isPending) return <Loading />;
  if (query.error) return <Failure error={query.error} />;
  const items = query.data ?? [];
  if (!items.length) {
    return depth === 0 ? (
      <Text size="sm" c="dimmed" py="xs">
        {t("Nothing: no signature, SBOM or attestation is attached.")}
      </Text>
    ) : null;
  }
  return (
    <ul>
      {items.map((item) => (
        <li key={item.digest}>
          <div className="node">
            <Badge
              variant="light"
              tt="none"
              color={isSignature(item.type) ? "teal" : item.type.startsWith("sbom") ? "blue" : "gray"}
            >
              {item.type}
            </Badge>
            <Digest
              value={item.digest}
              to={artifactPath(place.project.project_id, place.repository, item.digest)}
            />
            <Text size="sm" c="dimmed">
              {bytes(item.size)} · <Time value={item.creation_time} />
            </Text>
          </div>
          {verdicts
            .filter((one) => one.accessory_digest === item.digest)
            .map((one, index) => (
              <Text size="xs" key={index} c={one.valid ? "teal.9" : "dimmed"} pl="xs">
                {one.valid
                  ? t("Verified by {name}", { name: one.signer ?? "–" })
                  : t("Not verified: {reason}", { reason: one.reason ?? "–" })}
              </Text>
            ))}
          {depth < 4 && (
            <Branch place={place} reference={item.digest} depth={depth + 1} verdicts={verdicts} />
          )}
        </li>
      ))}
    </ul>
  );
}

function Details({ artifact }: { artifact: Artifact }) {
  const { t, language } = useI18n();
  const annotations = Object.entries(artifact.annotations ?? {});
  const extra = artifact.extra_attrs ?? {};
  return (
    <div className="grid wide">
      <Card title={t("Annotations")}>
        {annotations.length ? (
          <Facts items={annotations.map(([name, value]) => [name, String(value)])} />
        ) : (
          <Text size="sm" c="dimmed">
            {t("None")}
          </Text>
        )}
      </Card>
      <Card title={t("Configuration")}>
        {Object.keys(extra).length ? (
          <>
            {typeof extra.created === "string" && (
              <Text size="sm" mb="xs">
                {t("Created")}: {dateTime(extra.created, language)}
                {typeof extra.author === "string" && extra.author ? ` · ${extra.author}` : ""}
              </Text>
            )}
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
            <pre className="code-block" tabIndex={0}>
              {JSON.stringify(extra.config ?? extra, null, 2)}
            </pre>
          </>
        ) : (
          <Text size="sm" c="dimmed">
            {t("None")}
          </Text>
        )}
      </Card>
    </div>
  );
}
