// A repository: its artifacts with tags, labels and scan results, and its description.
import {
  Anchor,
  Badge,
  Button,
  Group,
  Menu,
  Popover,
  Stack,
  Tabs,
  Text,
  Textarea,
  Tooltip,
} from "@mantine/core";
import { ChevronDown, Lock, ShieldCheck, Terminal } from "lucide-react";
import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import type { Artifact, Label, Project, Repository } from "../api/types";
import { pullCommands, registryHost } from "../commands";
import { useConfirm } from "../components/confirm";
import { FormModal } from "../components/dialogs";
import { LabelChip } from "../components/label";
import { overview, ScanResult } from "../components/severity";
import { DataTable, Toolbar } from "../components/table";
import { Await, Card, Command, Digest, Empty, Facts, Page, Time } from "../components/ui";
import { bytes, q } from "../format";
import { useAction, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";
import { useSession } from "../session";
import { usePermissions } from "./project";
import { within } from "./project/repositories";

export const artifactPath = (project: number, repository: string, reference: string) =>
  `/harbor/projects/${project}/repositories/${encodeURIComponent(repository)}/artifacts-tab/artifacts/${reference}`;

export function RepositoryPage() {
  const { t } = useI18n();
  const { project: id = "", repository = "", tab = "artifacts-tab" } = useParams();
  const navigate = useNavigate();
  const project = useGet<Project>("/projects/{project_name_or_id}", { path: { project_name_or_id: id } });
  return (
    <Await query={project}>
      {(found) => (
        <Page
          title={`${found.name}/${repository}`}
          crumbs={[
            { label: t("Projects"), to: "/harbor/projects" },
            { label: found.name, to: `/harbor/projects/${found.project_id}/repositories` },
            { label: repository },
          ]}
        >
          <Tabs
            value={tab}
            keepMounted={false}
            onChange={(next) =>
              navigate(
                `/harbor/projects/${found.project_id}/repositories/${encodeURIComponent(repository)}/${next}`,
              )
            }
          >
            <Tabs.List mb="md" aria-label={repository}>
              <Tabs.Tab value="artifacts-tab">{t("Artifacts")}</Tabs.Tab>
              <Tabs.Tab value="info-tab">{t("Information")}</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="artifacts-tab">
              <Artifacts project={found} repository={repository} />
            </Tabs.Panel>
            <Tabs.Panel value="info-tab">
              <Information project={found} repository={repository} />
            </Tabs.Panel>
          </Tabs>
        </Page>
      )}
    </Await>
  );
}

const ROOT = "/projects/{project_name}/repositories/{repository_name}";

function Artifacts({ project, repository }: { project: Project; repository: string }) {
  const { t } = useI18n();
  const { info } = useSession();
  const { can } = usePermissions(project.project_id);
  const confirm = useConfirm();
  const [tag, setTag] = useState("");
  const [selected, setSelected] = useState<(string | number)[]>([]);
  const [watching, setWatching] = useState(0);
  const [copying, setCopying] = useState<Artifact | null>(null);
  const path = { project_name: project.name, repository_name: repository };
  const host = registryHost(info.registry_url ?? info.external_url);
  const full = `${project.name}/${repository}`;
  const list = useList<Artifact>(
    `${ROOT}/artifacts`,
    {
      path,
      query: {
        q: q({ tags: tag ? `~${tag.replaceAll(",", " ")}` : undefined }),
        with_tag: true,
        with_label: true,
        with_scan_overview: true,
        with_sbom_overview: true,
        with_accessory: true,
        with_immutable_status: true,
      },
      sort: "-push_time",
    },
    {
      // While a scan runs its progress is worth watching; else the list stands still.
      refetchInterval: (query) => {
        const busy = query.state.data?.rows.some((row) =>
          ["Pending", "Running", "Scheduled"].includes(overview(row)?.scan_status ?? ""),
        );
        return busy || Date.now() < watching ? 3000 : false;
      },
    },
  );
  const labels = useGet<Label[]>(
    "/labels",
    { query: { scope: "g", page_size: 100 } },
    { enabled: can("artifact-label", "create") },
  );
  const projectLabels = useGet<Label[]>(
    "/labels",
    { query: { scope: "p", project_id: project.project_id, page_size: 100 } },
    { enabled: can("artifact-label", "create") },
  );
  const chosen = list.rows.filter((row) => selected.includes(row.digest));

  const scan = useAction(async ({ rows, type }: { rows: Artifact[]; type: "vulnerability" | "sbom" }) => {
    for (const row of rows) {
      await api.post(`${ROOT}/artifacts/{reference}/scan`, {
        path: { ...path, reference: row.digest },
        body: { scan_type: type },
      });
    }
    setWatching(Date.now() + 60_000);
  }, "Started");
  const remove = useAction(async (rows: Artifact[]) => {
    for (const row of rows) {
      await api.delete(`${ROOT}/artifacts/{reference}`, { path: { ...path, reference: row.digest } });
    }
    setSelected([]);
  }, "Deleted");
  const label = useAction(async ({ row, label, on }: { row: Artifact; label: Label; on: boolean }) => {
    const where = { ...path, reference: row.digest };
    if (on) await api.post(`${ROOT}/artifacts/{reference}/labels`, { path: where, body: { id: label.id } });
    else
      await api.delete(`${ROOT}/artifacts/{reference}/labels/{label_id}`, {
        path: { ...where, label_id: label.id },
      });
  });
  const askDelete = async (rows: Artifact[]) => {
    const yes = await confirm({
      title: rows.length === 1 ? t("Delete this artifact?") : t("Delete {n} artifacts?", { n: rows.length }),
      body: t("Its tags, signatures and other accessories go with it."),
      confirm: t("Delete"),
      danger: true,
    });
    if (yes) remove.mutate(rows);
  };
  const mayScan = can("scan", "create");
  const mayDelete = can("artifact", "delete");
  const mayLabel = can("artifact-label", "create");

  return (
    <Stack gap="md">
      <Toolbar search={setTag} placeholder={t("Filter by tag")} refresh={list.refetch}>
        {mayScan && (
          <>
            <Button
              variant="default"
              disabled={!chosen.length}
              onClick={() => scan.mutate({ rows: chosen, type: "vulnerability" })}
            >
              {t("Scan")}
            </Button>
            <Button
              variant="default"
              disabled={!chosen.length}
              onClick={() => scan.mutate({ rows: chosen, type: "sbom" })}
            >
              {t("Make SBOM")}
            </Button>
          </>
        )}
        {mayLabel && (
          <Menu closeOnItemClick={false} position="bottom-end">
            <Menu.Target>
              <Button
                variant="default"
                disabled={chosen.length !== 1}
                rightSection={<ChevronDown size={14} aria-hidden />}
              >
                {t("Labels")}
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              {[...(labels.data ?? []), ...(projectLabels.data ?? [])].map((item) => {
                const on = !!chosen[0]?.labels?.some((other) => other.id === item.id);
                return (
                  <Menu.CheckboxItem
                    key={item.id}
                    checked={on}
                    onChange={(next) => label.mutate({ row: chosen[0], label: item, on: next })}
                  >
                    <LabelChip label={item} />
                  </Menu.CheckboxItem>
                );
              })}
              {!labels.data?.length && !projectLabels.data?.length && (
                <Menu.Label>{t("No labels yet")}</Menu.Label>
              )}
            </Menu.Dropdown>
          </Menu>
        )}
        {mayDelete && (
          <Button color="red" variant="light" disabled={!chosen.length} onClick={() => askDelete(chosen)}>
            {t("Delete")}
          </Button>
        )}
      </Toolbar>
      <DataTable
        label={t("Artifacts")}
        list={list}
        rowKey={(row) => row.digest}
        selected={mayScan || mayDelete || mayLabel ? selected : undefined}
        onSelect={mayScan || mayDelete || mayLabel ? setSelected : undefined}
        empty={<Empty title={tag ? t("No artifact matches") : t("No artifacts here")} />}
        columns={[
          {
            title: t("Artifact"),
            cell: (row) => (
              <Group gap={6} wrap="nowrap">
                <Digest value={row.digest} to={artifactPath(project.project_id, repository, row.digest)} />
                <PullButton artifact={row} host={host} repository={full} />
              </Group>
            ),
          },
          {
            title: t("Type"),
            cell: (row) => (
              <Text size="sm">
                {row.type ?? "–"}
                {row.references?.length ? ` · ${t("{n} parts", { n: row.references.length })}` : ""}
              </Text>
            ),
          },
          { title: t("Tags"), cell: (row) => <Tags artifact={row} /> },
          { title: t("Signed"), cell: (row) => <Signed artifact={row} /> },
          {
            title: t("Size"),
            sort: "size",
            align: "right",
            cell: (row) => <span className="nowrap">{bytes(row.size)}</span>,
          },
          { title: t("Vulnerabilities"), cell: (row) => <ScanResult artifact={row} /> },
          {
            title: t("Labels"),
            cell: (row) => (
              <Group gap={8}>
                {row.labels?.map((item) => (
                  <LabelChip key={item.id} label={item} />
                ))}
              </Group>
            ),
          },
          { title: t("Pushed"), sort: "push_time", cell: (row) => <Time value={row.push_time} /> },
          { title: t("Pulled"), sort: "pull_time", cell: (row) => <Time value={row.pull_time} /> },
        ]}
        actions={[
          {
            label: t("Scan"),
            hidden: () => !mayScan,
            run: (row) => scan.mutate({ rows: [row], type: "vulnerability" }),
          },
          {
            label: t("Make SBOM"),
            hidden: () => !mayScan,
            run: (row) => scan.mutate({ rows: [row], type: "sbom" }),
          },
          {
            label: t("Copy to another repository"),
            hidden: () => !can("artifact", "create") && !can("repository", "push"),
            run: setCopying,
          },
          { label: t("Delete"), danger: true, hidden: () => !mayDelete, run: (row) => askDelete([row]) },
        ]}
      />
      {copying && (
        <FormModal
          opened
          onClose={() => setCopying(null)}
          title={t("Copy to another repository")}
          submit={t("Copy")}
          initial={{ project: project.name, repository }}
          fields={[
            { name: "project", label: t("Project"), required: true },
            { name: "repository", label: t("Repository"), required: true },
          ]}
          onSubmit={(values) =>
            api.create(`${ROOT}/artifacts`, {
              path: { project_name: values.project, repository_name: values.repository },
              query: { from: `${full}@${copying.digest}` },
            })
          }
        />
      )}
    </Stack>
  );
}

export function Tags({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const tags = artifact.tags ?? [];
  if (!tags.length) return <Text c="dimmed">–</Text>;
  return (
    <Group gap={4}>
      {tags.slice(0, 4).map((tag) => (
        <Badge
          key={tag.id}
          variant="default"
          tt="none"
          fw={500}
          leftSection={tag.immutable ? <Lock size={10} aria-label={t("Immutable")} /> : undefined}
        >
          {tag.name}
        </Badge>
      ))}
      {tags.length > 4 && (
        <Tooltip label={tags.map((tag) => tag.name).join(", ")} multiline maw={400}>
          <Badge variant="light" color="gray" tt="none">
            +{tags.length - 4}
          </Badge>
        </Tooltip>
      )}
    </Group>
  );
}

export const isSignature = (type: string) => type.startsWith("signature.");

export function Signed({ artifact }: { artifact: Artifact }) {
  const { t } = useI18n();
  const kinds = [
    ...new Set(
      (artifact.accessories ?? [])
        .filter((item) => isSignature(item.type))
        .map((item) => item.type.split(".")[1]),
    ),
  ];
  if (!kinds.length) return <Text c="dimmed">–</Text>;
  return (
    <Badge
      color="teal"
      variant="light"
      tt="none"
      leftSection={<ShieldCheck size={12} aria-hidden />}
      title={t("Signed")}
    >
      {kinds.join(", ")}
    </Badge>
  );
}

export function PullButton(props: { artifact: Artifact; host: string; repository: string; wide?: boolean }) {
  const { t } = useI18n();
  const { artifact, host, repository } = props;
  const tag = artifact.tags?.[0]?.name;
  const commands = pullCommands(
    artifact.type ?? "",
    host,
    repository,
    tag,
    tag ? undefined : artifact.digest,
  );
  const byDigest = pullCommands(artifact.type ?? "", host, repository, undefined, artifact.digest);
  return (
    <Popover position="bottom-start" width={580} trapFocus withArrow>
      <Popover.Target>
        <Button
          size={props.wide ? "sm" : "compact-xs"}
          variant={props.wide ? "default" : "subtle"}
          color="gray"
          aria-label={t("Pull command")}
          leftSection={props.wide ? <Terminal size={16} aria-hidden /> : undefined}
        >
          {props.wide ? t("Pull command") : <Terminal size={14} aria-hidden />}
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="sm">
          {(commands.length ? commands : byDigest).map(([client, command]) => (
            <div key={client}>
              <Text size="xs" fw={600} mb={2}>
                {client}
              </Text>
              <Command value={command} />
            </div>
          ))}
          {tag && byDigest.length > 0 && (
            <div>
              <Text size="xs" fw={600} mb={2}>
                {t("By digest")}
              </Text>
              <Command value={byDigest[0][1]} />
            </div>
          )}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

function Information({ project, repository }: { project: Project; repository: string }) {
  const { t } = useI18n();
  const { can } = usePermissions(project.project_id);
  const path = { project_name: project.name, repository_name: repository };
  const query = useGet<Repository>(ROOT, { path });
  const [text, setText] = useState<string | null>(null);
  const save = useAction(async (description: string) => {
    await api.put(ROOT, { path, body: { description } });
    setText(null);
  }, "Saved");
  return (
    <Await query={query}>
      {(found) => (
        <div className="grid wide">
          <Card title={t("Description")}>
            {text === null ? (
              <Stack align="flex-start">
                <div className="markdown">{found.description || t("No description yet.")}</div>
                {can("repository", "update") && (
                  <Button size="xs" variant="default" onClick={() => setText(found.description ?? "")}>
                    {t("Edit")}
                  </Button>
                )}
              </Stack>
            ) : (
              <Stack>
                <Textarea
                  aria-label={t("Description")}
                  autosize
                  minRows={6}
                  value={text}
                  onChange={(event) => setText(event.currentTarget.value)}
                />
                <Group gap="xs">
                  <Button size="xs" onClick={() => save.mutate(text)} loading={save.isPending}>
                    {t("Save")}
                  </Button>
                  <Button size="xs" variant="default" onClick={() => setText(null)}>
                    {t("Cancel")}
                  </Button>
                </Group>
              </Stack>
            )}
          </Card>
          <Card title={t("Repository")}>
            <Facts
              items={[
                [t("Name"), within(project.name, found.name)],
                [
                  t("Project"),
                  <Anchor key="p" component={Link} to={`/harbor/projects/${project.project_id}`}>
                    {project.name}
                  </Anchor>,
                ],
                [t("Artifacts"), found.artifact_count ?? 0],
                [t("Pulls"), found.pull_count ?? 0],
                [t("Created"), <Time key="c" value={found.creation_time} />],
                [t("Last change"), <Time key="u" value={found.update_time} />],
              ]}
            />
          </Card>
        </div>
      )}
    </Await>
  );
}
