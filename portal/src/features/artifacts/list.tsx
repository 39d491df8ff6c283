// The artifacts of a repository with tags, labels and scan results.

import { ActionIcon, Button, Group, Menu, NativeSelect, Stack } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { Columns3 } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Artifact, Project } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import type { Column } from "../../components/table";
import { Digest, Empty, Time } from "../../components/ui";
import { useBulk, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { bytes, q, shortDigest } from "../../lib/format";
import { logged } from "../../lib/operations";
import { useSession } from "../../session";
import { LabelChip } from "../labels/chip";
import { LabelMenu, useLabels } from "../labels/choose";
import { usePermissions } from "../projects/permissions";
import { artifactPath } from "../repositories/names";
import { scanned } from "../scanning/follow";
import { overview, ScanResult } from "../scanning/severity";
import { registryHost } from "./commands";
import { KINDS, KindIcon, Platforms } from "./kind";
import { HasSbom, Signed, Tags } from "./marks";
import { Parts } from "./platforms";
import { PullButton } from "./pull";

export const ROOT = "/projects/{project_name}/repositories/{repository_name}";

const COLUMNS = ["signed", "sbom", "size", "vulnerabilities", "pushed", "pulled"] as const;
const NAMES = {
  signed: "Signed",
  sbom: "SBOM",
  size: "Size",
  vulnerabilities: "Vulnerabilities",
  pushed: "Pushed",
  pulled: "Pulled",
} as const;

/** A choice of the severity filter -> what `q` asks for. */
const SEVERITY_TERMS: Record<string, string> = {
  Critical: "[Critical~]",
  High: "[High~]",
  Medium: "[Medium~]",
  Low: "[Low~]",
  None: "None",
  Unknown: "Unknown",
  unscanned: "nil",
};

export function Artifacts({ project, repository }: { project: Project; repository: string }) {
  const { t, word } = useI18n();
  const { info } = useSession();
  const { can } = usePermissions(project.project_id);
  const [tag, setTag] = useFilter("tag");
  const [kind, setKind] = useFilter("type", { push: true });
  const [tagged, setTagged] = useFilter("tagged", { push: true });
  const [label, setLabel] = useFilter("label", { push: true });
  const [signed, setSigned] = useFilter("signed", { push: true });
  const [severity, setSeverity] = useFilter("severity", { push: true });
  const [hidden, setHidden] = useLocalStorage<string[]>({
    key: "seawall-artifact-columns-hidden",
    defaultValue: [],
  });
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
        q: q({
          tags: tag
            ? `~${tag.replaceAll(",", " ")}`
            : tagged === "yes"
              ? "*"
              : tagged === "no"
                ? "nil"
                : undefined,
          type: kind,
          labels: label ? `(${label})` : undefined,
          signed: signed === "yes" ? true : signed === "no" ? false : undefined,
          severity: SEVERITY_TERMS[severity],
        }),
        with_tag: true,
        with_label: true,
        with_scan_overview: true,
        with_sbom_overview: true,
        with_accessory: true,
        with_immutable_status: true,
      },
      sort: "-push_time",
      address: "",
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
  const mayLabel = can("artifact-label", "create");
  const labels = useLabels(project.project_id, true);
  const one = (row: Artifact) => ({ ...path, reference: row.digest });
  const name = (row: Artifact) => row.tags?.[0]?.name ?? shortDigest(row.digest);
  const scanAs = (type: "vulnerability" | "sbom") => ({
    run: async (row: Artifact) => {
      await logged(
        type === "sbom" ? "Make SBOM" : "Scan",
        `${full}:${name(row)}`,
        () => api.post(`${ROOT}/artifacts/{reference}/scan`, { path: one(row), body: { scan_type: type } }),
        () => scanned(one(row), type),
      );
      setWatching(Date.now() + 60_000);
    },
    name,
    done: () => t("Started"),
    failed: (what: string) => t("Could not scan {name}", { name: what }),
  });
  const scan = useBulk<Artifact>(scanAs("vulnerability"));
  const sbom = useBulk<Artifact>(scanAs("sbom"));
  const stop = useBulk<Artifact>({
    run: (row) =>
      api.post(`${ROOT}/artifacts/{reference}/scan/stop`, {
        path: one(row),
        body: { scan_type: "vulnerability" },
      }),
    name,
    done: () => t("Stopped"),
    failed: (what) => t("Could not stop the scan of {name}", { name: what }),
  });
  const busy = (row: Artifact) =>
    ["Pending", "Running", "Scheduled"].includes(overview(row)?.scan_status ?? "");
  const reference = (row: Artifact) => row.tags?.[0]?.name ?? row.digest;
  const mayScan = can("scan", "create");
  const mayDelete = can("artifact", "delete");
  const shown = (column: (typeof COLUMNS)[number]) => !hidden.includes(column);
  const columns: (Column<Artifact> & { id?: (typeof COLUMNS)[number] })[] = [
    {
      title: t("Artifact"),
      cell: (row) => (
        <div className="artifact">
          <KindIcon artifact={row} />
          <div className="artifact-names">
            <Tags artifact={row} to={(tag) => artifactPath(project.project_id, repository, tag)} />
            <Group gap={6}>
              <Digest value={row.digest} to={artifactPath(project.project_id, repository, row.digest)} />
              <PullButton artifact={row} host={host} repository={full} />
              <Platforms artifact={row} />
            </Group>
            {!!row.labels?.length && (
              <Group gap={8}>
                {row.labels.map((item) => (
                  <LabelChip key={item.id} label={item} />
                ))}
              </Group>
            )}
          </div>
        </div>
      ),
    },
    { id: "signed", title: t("Signed"), cell: (row) => <Signed artifact={row} /> },
    { id: "sbom", title: t("SBOM"), cell: (row) => <HasSbom artifact={row} /> },
    {
      id: "size",
      title: t("Size"),
      sort: "size",
      align: "right",
      cell: (row) => <span className="nowrap">{bytes(row.size)}</span>,
    },
    { id: "vulnerabilities", title: t("Vulnerabilities"), cell: (row) => <ScanResult artifact={row} /> },
    { id: "pushed", title: t("Pushed"), sort: "push_time", cell: (row) => <Time value={row.push_time} /> },
    { id: "pulled", title: t("Pulled"), sort: "pull_time", cell: (row) => <Time value={row.pull_time} /> },
  ];

  return (
    <Stack gap="md">
      <ResourceTable<Artifact>
        label={t("Artifacts")}
        list={list}
        rowKey={(row) => row.digest}
        name={name}
        search={{ value: tag, onChange: setTag, placeholder: t("Filter by tag") }}
        filters={
          <>
            <NativeSelect
              aria-label={t("Type")}
              value={kind}
              onChange={(event) => setKind(event.currentTarget.value)}
              data={[
                { value: "", label: t("Every type") },
                ...KINDS.map((value) => ({ value, label: word(value) })),
              ]}
            />
            <NativeSelect
              aria-label={t("Tagged")}
              value={tagged}
              onChange={(event) => setTagged(event.currentTarget.value)}
              data={[
                { value: "", label: t("Tagged and untagged") },
                { value: "yes", label: t("Tagged") },
                { value: "no", label: t("Untagged") },
              ]}
            />
            <NativeSelect
              aria-label={t("Signed")}
              value={signed}
              onChange={(event) => setSigned(event.currentTarget.value)}
              data={[
                { value: "", label: t("Signed and unsigned") },
                { value: "yes", label: t("Signed") },
                { value: "no", label: t("Unsigned") },
              ]}
            />
            <NativeSelect
              aria-label={t("Severity")}
              value={severity}
              onChange={(event) => setSeverity(event.currentTarget.value)}
              data={[
                { value: "", label: t("Every severity") },
                { value: "Critical", label: word("Critical") },
                ...["High", "Medium", "Low"].map((name) => ({
                  value: name,
                  label: t("{severity} or worse", { severity: word(name) }),
                })),
                { value: "None", label: word("None") },
                { value: "Unknown", label: word("Unknown") },
                { value: "unscanned", label: t("Not scanned") },
              ]}
            />
            {labels.length > 0 && (
              <NativeSelect
                aria-label={t("Label")}
                value={label}
                onChange={(event) => setLabel(event.currentTarget.value)}
                data={[
                  { value: "", label: t("Every label") },
                  ...labels.map((item) => ({ value: String(item.id), label: item.name })),
                ]}
              />
            )}
          </>
        }
        buttons={
          <Menu closeOnItemClick={false} position="bottom-end">
            <Menu.Target>
              <ActionIcon variant="default" size="lg" aria-label={t("Columns")}>
                <Columns3 size={16} aria-hidden />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              {COLUMNS.map((column) => (
                <Menu.CheckboxItem
                  key={column}
                  checked={shown(column)}
                  onChange={(on) =>
                    setHidden(on ? hidden.filter((item) => item !== column) : [...hidden, column])
                  }
                >
                  {t(NAMES[column])}
                </Menu.CheckboxItem>
              ))}
            </Menu.Dropdown>
          </Menu>
        }
        selectable={mayScan || mayDelete || mayLabel}
        bulk={(rows) => (
          <>
            {rows.length === 2 && (
              <Button
                size="xs"
                variant="default"
                component={Link}
                to={`/harbor/projects/${project.project_id}/repositories/${encodeURIComponent(repository)}/compare?${new URLSearchParams(
                  // The older one first: what came later is what was added.
                  rows[0].push_time && rows[1].push_time && rows[0].push_time > rows[1].push_time
                    ? { from: reference(rows[1]), to: reference(rows[0]) }
                    : { from: reference(rows[0]), to: reference(rows[1]) },
                )}`}
              >
                {t("Compare")}
              </Button>
            )}
            {mayScan && (
              <>
                <Button size="xs" variant="default" loading={scan.busy} onClick={() => scan.run(rows)}>
                  {t("Scan")}
                </Button>
                <Button size="xs" variant="default" loading={sbom.busy} onClick={() => sbom.run(rows)}>
                  {t("Make SBOM")}
                </Button>
              </>
            )}
            {mayLabel && <LabelMenu rows={rows} labels={labels} path={path} />}
          </>
        )}
        empty={
          <Empty
            title={
              tag || kind || tagged || label || signed || severity
                ? t("No artifact matches")
                : t("No artifacts here")
            }
          />
        }
        expand={(row) => <Parts artifact={row} project={project} repository={repository} />}
        expandable={(row) => !!row.references?.length}
        columns={columns.filter((column) => !column.id || shown(column.id))}
        actions={[
          {
            label: t("Scan"),
            hidden: (row) => !mayScan || busy(row),
            run: (row) => scan.run([row]),
          },
          {
            label: t("Stop scan"),
            hidden: (row) => !mayScan || !busy(row),
            run: (row) => stop.run([row]),
          },
          {
            label: t("Make SBOM"),
            hidden: () => !mayScan,
            run: (row) => sbom.run([row]),
          },
          {
            label: t("Copy to another repository"),
            hidden: () => !can("artifact", "create") && !can("repository", "push"),
            run: setCopying,
          },
        ]}
        remove={
          mayDelete && {
            run: (row) => api.delete(`${ROOT}/artifacts/{reference}`, { path: one(row) }),
            title: () => t("Delete this artifact?"),
            consequence: t("Its tags, signatures and other accessories go with it."),
          }
        }
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
          onSubmit={async (values) => {
            await logged("Copy", `${full} → ${values.project}/${values.repository}`, () =>
              api.create(`${ROOT}/artifacts`, {
                path: { project_name: values.project, repository_name: values.repository },
                query: { from: `${full}@${copying.digest}` },
              }),
            );
            notifications.show({
              message: t("Copied to {name}", { name: `${values.project}/${values.repository}` }),
              color: "teal",
            });
          }}
        />
      )}
    </Stack>
  );
}
