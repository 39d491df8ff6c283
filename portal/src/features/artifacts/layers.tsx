import { Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { api } from "../../api/client";
import type { HistoryEntry } from "../../api/types";
import { DataTable } from "../../components/table";
import { Await, DateTime, Digest, Empty } from "../../components/ui";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { ROOT, type Where } from "./where";

interface Blob {
  digest: string;
  mediaType: string;
  size: number;
  annotations?: Record<string, string>;
}

/** Each step of the build with the layer it made, or the layers alone when the config has no history. */
export function History({ where, image }: { where: Where; image: boolean }) {
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
                  // Leads to where else the layer is.
                  <Digest
                    value={row.layer.digest}
                    to={`/harbor/search?q=${encodeURIComponent(row.layer.digest)}`}
                  />
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
