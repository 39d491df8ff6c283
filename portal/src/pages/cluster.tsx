// The instances that together are this registry, and the check that finds what is wrong between them.
import { Alert, Badge, Button, Group, Stack, Tabs, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { CircleCheck, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import type { CheckReport, Health, Instance } from "../api/types";
import { DataTable, Toolbar } from "../components/table";
import { Card, Empty, Failure, Loading, Page, Status, Time } from "../components/ui";
import { useGet } from "../hooks";
import { useI18n } from "../i18n";
import { DisasterRecovery } from "./dr";
import { Peers } from "./peers";

export function Cluster() {
  const { t } = useI18n();
  const { tab = "instances" } = useParams();
  const navigate = useNavigate();
  return (
    <Page
      title={t("Cluster")}
      description={t("Every instance serves the whole registry; any of them may stop.")}
    >
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/cluster/${next}`)}>
        <Tabs.List mb="md" className="tabs">
          <Tabs.Tab value="instances">{t("Instances")}</Tabs.Tab>
          <Tabs.Tab value="dr">{t("Disaster recovery")}</Tabs.Tab>
          <Tabs.Tab value="peers">{t("Peer sites")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="instances">
          <Stack>
            <Components />
            <Instances />
            <Check />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="dr">
          <DisasterRecovery />
        </Tabs.Panel>
        <Tabs.Panel value="peers">
          <Peers />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Components() {
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

function Instances() {
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

function Check() {
  const { t } = useI18n();
  const [asked, setAsked] = useState(false);
  const query = useQuery({
    queryKey: ["/seawall/ha/check"],
    queryFn: ({ signal }) => api.get<CheckReport>("/seawall/ha/check", { signal }),
    enabled: asked,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Card
      title={t("Check of every pair")}
      right={
        <Button
          size="xs"
          loading={query.isFetching}
          onClick={() => (asked ? query.refetch() : setAsked(true))}
        >
          {t("Check now")}
        </Button>
      }
    >
      {!asked ? (
        <Text size="sm" c="dimmed">
          {t("Tests keys, versions, clocks, database, storage and balancer between every two instances.")}
        </Text>
      ) : query.isPending ? (
        <Loading />
      ) : query.error ? (
        <Failure error={query.error} retry={query.refetch} />
      ) : (
        <Stack>
          {query.data.ok ? (
            <Alert color="teal" icon={<CircleCheck size={18} aria-hidden />} title={t("Nothing is wrong")} />
          ) : (
            query.data.faults.map((fault, index) => (
              <Alert
                key={index}
                color="red"
                icon={<TriangleAlert size={18} aria-hidden />}
                title={fault.message}
              >
                <Text size="sm">
                  <b>{t("Cure")}:</b> {fault.cure}
                </Text>
                <Text size="sm" c="dimmed">
                  {fault.instances.join(", ")}
                </Text>
              </Alert>
            ))
          )}
          <Text size="sm">{t("{n} pairs of instances were tested.", { n: query.data.pairs })}</Text>
          <Group gap={6}>
            {query.data.tested.map((name) => (
              <Badge key={name} variant="light" color="gray" tt="none">
                {name}
              </Badge>
            ))}
          </Group>
        </Stack>
      )}
    </Card>
  );
}
