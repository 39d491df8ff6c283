// Two artifacts of a repository side by side: what differs in layers, packages, vulnerabilities and configuration.
import { Anchor, Badge, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { api } from "../../api/client";
import type { Artifact, Project, VulnerabilityReport } from "../../api/types";
import { Paged } from "../../components/paged";
import { DataTable } from "../../components/table";
import { Await, Card, Empty, Page } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useAddress } from "../../lib/address";
import { bytes, shortDigest } from "../../lib/format";
import { artifactPath } from "../repositories/names";
import { components } from "./sbom";
import { REPORT_TYPES } from "./vulnerabilities";
import { ROOT, type Where } from "./where";

interface Side {
  artifact: Artifact;
  layers: Map<string, string>;
  packages: Map<string, string> | null;
  vulnerabilities: Map<string, string> | null;
  configuration: Map<string, string>;
}

async function side(where: Where, signal: AbortSignal): Promise<Side> {
  const artifact = await api.get<Artifact>(ROOT, {
    path: where,
    query: { with_tag: true, with_scan_overview: true, with_sbom_overview: true, with_accessory: true },
    signal,
  });
  const addition = (name: string, reference = artifact.digest) => ({
    path: { ...where, reference, addition: name },
    signal,
  });
  const layers = api
    .get<{ layers?: { digest: string; size: number }[] }>(
      `${ROOT}/additions/{addition}`,
      addition("manifest"),
    )
    .then((manifest) => new Map((manifest.layers ?? []).map((item) => [item.digest, bytes(item.size)])))
    .catch(() => new Map<string, string>());
  const attached = (artifact.accessories ?? []).find((item) => item.type.startsWith("sbom"));
  const sbom = artifact.sbom_overview?.sbom_digest ?? attached?.digest;
  const packages = sbom
    ? api
        .text(`${ROOT}/additions/{addition}`, addition("sbom", sbom))
        .then((text) => new Map(components(JSON.parse(text)).map((item) => [item.name, item.version])))
        .catch(() => null)
    : null;
  const scanned = Object.values(artifact.scan_overview ?? {})[0]?.scan_status === "Success";
  const vulnerabilities = scanned
    ? api
        .get<Record<string, VulnerabilityReport>>(`${ROOT}/additions/vulnerabilities`, {
          path: { ...where, reference: artifact.digest },
          headers: { "X-Accept-Vulnerabilities": REPORT_TYPES },
          signal,
        })
        .then((reports) => {
          const found = Object.values(reports ?? {})[0]?.vulnerabilities ?? [];
          return new Map(found.map((item) => [`${item.id} (${item.package})`, item.severity]));
        })
        .catch(() => null)
    : null;
  const extra = (artifact.extra_attrs ?? {}) as Record<string, unknown>;
  const config = (extra.config ?? {}) as Record<string, unknown>;
  const configuration = new Map<string, string>();
  for (const name of ["os", "architecture", "author", "created"]) {
    if (extra[name] !== undefined) configuration.set(name, String(extra[name]));
  }
  for (const [name, value] of Object.entries(config)) {
    // Lists of variables and objects of labels are compared entry by entry.
    if (Array.isArray(value) && name === "Env") {
      for (const entry of value) {
        const [key, ...rest] = String(entry).split("=");
        configuration.set(`Env ${key}`, rest.join("="));
      }
    } else if (value && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) configuration.set(`${name} ${key}`, String(inner));
    } else configuration.set(name, JSON.stringify(value));
  }
  return {
    artifact,
    layers: await layers,
    packages: await packages,
    vulnerabilities: await vulnerabilities,
    configuration,
  };
}

export function Compare() {
  const { t } = useI18n();
  const { project: id = "", repository = "" } = useParams();
  const { get } = useAddress();
  const [from, to] = [get("from") ?? "", get("to") ?? ""];
  const project = useGet<Project>("/projects/{project_name_or_id}", { path: { project_name_or_id: id } });
  const name = project.data?.name ?? "";
  const query = useQuery({
    queryKey: ["compare", name, repository, from, to],
    enabled: !!name && !!from && !!to,
    queryFn: ({ signal }) => {
      const where = (reference: string) => ({ project_name: name, repository_name: repository, reference });
      return Promise.all([side(where(from), signal), side(where(to), signal)]);
    },
  });
  const base = `/harbor/projects/${id}`;
  const short = (reference: string) => (reference.includes(":") ? shortDigest(reference) : reference);
  return (
    <Page
      title={t("{from} and {to}", { from: short(from), to: short(to) })}
      crumbs={[
        { label: t("Projects"), to: "/harbor/projects" },
        { label: name || id, to: `${base}/repositories` },
        { label: repository, to: `${base}/repositories/${encodeURIComponent(repository)}/artifacts-tab` },
        { label: t("Compare") },
      ]}
    >
      {!from || !to ? (
        <Empty title={t("Select two artifacts of a repository to compare them")} />
      ) : (
        <Await query={query}>
          {([one, two]) => (
            <Stack>
              <div className="grid wide">
                {[one, two].map((item, index) => (
                  <Card key={item.artifact.digest + index} title={short(index ? to : from)}>
                    <Group gap="md">
                      <Anchor
                        component={Link}
                        size="sm"
                        to={artifactPath(Number(id), repository, item.artifact.digest)}
                      >
                        {shortDigest(item.artifact.digest)}
                      </Anchor>
                      <Text size="sm">{bytes(item.artifact.size)}</Text>
                      <Text size="sm" c="dimmed">
                        {t("{n} layers", { n: item.layers.size })}
                      </Text>
                    </Group>
                  </Card>
                ))}
              </div>
              <Differences
                title={t("Vulnerabilities")}
                from={one.vulnerabilities}
                to={two.vulnerabilities}
                none={t("Not scanned")}
              />
              <Differences title={t("Packages")} from={one.packages} to={two.packages} none={t("No SBOM")} />
              <Differences title={t("Layers")} from={one.layers} to={two.layers} />
              <Differences title={t("Configuration")} from={one.configuration} to={two.configuration} />
            </Stack>
          )}
        </Await>
      )}
    </Page>
  );
}

type Entries = Map<string, string> | null;

function Differences(props: { title: string; from: Entries; to: Entries; none?: string }) {
  const { t } = useI18n();
  const { title, from, to } = props;
  if (!from || !to) {
    return (
      <Card title={title}>
        <Text size="sm" c="dimmed">
          {props.none}
        </Text>
      </Card>
    );
  }
  const names = [...new Set([...from.keys(), ...to.keys()])].filter(
    (name) => from.get(name) !== to.get(name),
  );
  const rows = names.sort().map((name) => ({ name, before: from.get(name), after: to.get(name) }));
  const same = [...to.keys()].filter((name) => from.get(name) === to.get(name)).length;
  return (
    <Card
      title={title}
      right={
        <Text size="sm" c="dimmed">
          {t("{n} differ, {same} are the same", { n: rows.length, same })}
        </Text>
      }
    >
      <Paged rows={rows}>
        {(part) => (
          <DataTable
            label={title}
            list={{ rows: part }}
            rowKey={(row) => row.name}
            empty={<Empty title={t("Nothing differs")} />}
            columns={[
              {
                title: t("Change"),
                cell: (row) => (
                  <Badge
                    variant="light"
                    tt="none"
                    color={row.before === undefined ? "teal" : row.after === undefined ? "red" : "orange"}
                  >
                    {row.before === undefined
                      ? t("Added")
                      : row.after === undefined
                        ? t("Removed")
                        : t("Changed")}
                  </Badge>
                ),
              },
              { title: t("Name"), cell: (row) => <span className="wrap">{row.name}</span> },
              { title: t("Before"), cell: (row) => <span className="wrap">{row.before ?? "–"}</span> },
              { title: t("After"), cell: (row) => <span className="wrap">{row.after ?? "–"}</span> },
            ]}
          />
        )}
      </Paged>
    </Card>
  );
}
