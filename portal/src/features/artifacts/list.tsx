// The artifacts of a repository with tags, labels and scan results.

import { Button, Group, Menu, Stack, Text } from "@mantine/core";
import { ChevronDown } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Artifact, Label, Project } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Digest, Empty, Time } from "../../components/ui";
import { bytes, q } from "../../format";
import { useAction, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { LabelChip } from "../labels/chip";
import { usePermissions } from "../projects/permissions";
import { artifactPath } from "../repositories/names";
import { overview, ScanResult } from "../scanning/severity";
import { registryHost } from "./commands";
import { Signed, Tags } from "./marks";
import { PullButton } from "./pull";

export const ROOT = "/projects/{project_name}/repositories/{repository_name}";

export function Artifacts({ project, repository }: { project: Project; repository: string }) {
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
