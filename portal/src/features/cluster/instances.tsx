import { Group, Stack, Text } from "@mantine/core";
import type { Health, Instance } from "../../api/types";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Status, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function Components() {
  const { word } = useI18n();
  const query = useGet<Health>("/health", {}, { refetchInterval: 10_000 });
  if (!query.data?.components) return null;
  return (
    <div className="grid">
      {query.data.components.map((item) => (
        <div className="card" key={item.name}>
          <Group justify="space-between">
            <Text fw={600}>{word(item.name)}</Text>
            <Status value={item.status} title={item.error} />
          </Group>
          {item.error && (
            <Text size="sm" c="dimmed">
              {item.error}
            </Text>
          )}
        </div>
      ))}
    </div>
  );
}

export function Instances() {
  const { t } = useI18n();
  const query = useGet<Instance[]>("/seawall/ha/instances", {}, { refetchInterval: 3000 });
  return (
    <Stack gap="sm">
      <Toolbar refresh={query.refetch} />
      <DataTable
        label={t("Instances")}
        list={{
          rows: query.data ?? [],
          loading: query.isPending,
          error: query.error,
          refetch: query.refetch,
        }}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No instance has said that it lives")} />}
        expand={(row) => (
          <Stack gap={4}>
            {Object.entries(row.health ?? {}).map(([name, value]) => (
              <Text size="sm" key={name}>
                <b>{name}</b>: {typeof value === "object" ? JSON.stringify(value) : String(value)}
              </Text>
            ))}
            <Text size="sm">
              <b>external_url</b>: {row.external_url || "–"}
            </Text>
          </Stack>
        )}
        columns={[
          {
            title: t("Instance"),
            cell: (row) => (
              <div>
                <b>{row.hostname}</b>
                <Text size="xs" c="dimmed">
                  {row.address}
                </Text>
              </div>
            ),
          },
          {
            title: t("State"),
            cell: (row) => <Status value={row.alive ? String(row.health?.status ?? "alive") : "dead"} />,
          },
          { title: t("Version"), cell: (row) => row.version },
          {
            title: t("Last heartbeat"),
            cell: (row) => t("{n} s ago", { n: Math.round(row.seen_seconds_ago) }),
          },
          { title: t("Clock skew"), cell: (row) => `${row.clock_skew.toFixed(2)} s` },
          { title: t("Started"), cell: (row) => <Time value={row.started_at} /> },
        ]}
      />
    </Stack>
  );
}
