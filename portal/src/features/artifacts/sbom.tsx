import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Download } from "lucide-react";
import { useState } from "react";
import { api, url } from "../../api/client";
import type { Artifact } from "../../api/types";
import { Paged } from "../../components/paged";
import { DataTable } from "../../components/table";
import { Card, Empty, Failure, Loading, Status } from "../../components/ui";
import { useI18n } from "../../i18n";
import { ROOT, type Where } from "./where";

interface Component {
  name: string;
  version: string;
  license: string;
  purl: string;
}

// SPDX and CycloneDX name the same things differently.
export function components(document: any): Component[] {
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

export function Sbom({ artifact, where }: { artifact: Artifact; where: Where }) {
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
