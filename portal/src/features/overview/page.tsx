// Where an administrator begins: what the registry holds, what is wrong, what was pushed.
import { Anchor, Text } from "@mantine/core";
import { Link } from "react-router";
import type {
  Instance,
  JobQueue,
  Peer,
  Quota,
  ReplicationExecution,
  SecuritySummary,
  Statistics,
} from "../../api/types";
import { Await, Card, Page, ShortList, Status, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes, seconds } from "../../lib/format";
import { RecentPushes } from "../logs/recent";
import { UsageChart } from "../quotas/chart";
import { StorageOverTime } from "../quotas/history";
import { BySeverity } from "../scanning/severity";

export function Overview() {
  const { t } = useI18n();
  const totals = useGet<Statistics>("/statistics");
  const findings = useGet<SecuritySummary>("/security/summary");
  const quotas = useGet<Quota[]>("/quotas", {
    query: { reference: "project", sort: "-used.storage", page_size: 8 },
  });
  return (
    <Page title={t("Overview")}>
      <Await query={totals}>
        {(found) => (
          <div className="grid stats">
            {(
              [
                [t("Projects"), found.total_project_count],
                [t("Repositories"), found.total_repo_count],
                [t("Storage used"), bytes(found.total_storage_consumption)],
              ] as [string, string | number][]
            ).map(([label, value]) => (
              <div className="card stat" key={label}>
                <b>{value}</b>
                <span>{label}</span>
              </div>
            ))}
          </div>
        )}
      </Await>
      <Await query={findings}>{(summary) => <BySeverity summary={summary} />}</Await>
      <div className="grid wide">
        <RecentPushes />
        <Await query={quotas}>{(rows) => <UsageChart quotas={rows} />}</Await>
        <StorageOverTime />
        <Failures />
        <Waiting />
        <Serving />
      </div>
    </Page>
  );
}

function Failures() {
  const { t } = useI18n();
  const query = useGet<ReplicationExecution[]>(
    "/replication/executions",
    { query: { status: "Failed", page_size: 6 } },
    { refetchInterval: 10_000 },
  );
  return (
    <Card title={t("Failed replications")}>
      <ShortList query={query} none={t("None")} rowKey={(row) => row.id}>
        {(row) => (
          <>
            <Anchor component={Link} size="sm" to={`/harbor/replications?rule=${row.policy_id}`}>
              {t("Run")} {row.id}
            </Anchor>
            <Text size="sm" c="dimmed">
              {t("{n} failed", { n: row.failed ?? 0 })} · <Time value={row.end_time} />
            </Text>
          </>
        )}
      </ShortList>
    </Card>
  );
}

function Waiting() {
  const { t, word } = useI18n();
  const query = useGet<JobQueue[]>("/jobservice/queues", {}, { refetchInterval: 10_000 });
  return (
    <Card title={t("Waiting jobs")}>
      <Await query={query}>
        {(queues) => {
          const rows = queues.filter((row) => row.count || row.paused);
          const most = Math.max(1, ...rows.map((row) => row.count ?? 0));
          return rows.length ? (
            <ul className="bars">
              {rows.map((row) => (
                <li key={row.job_type}>
                  <span className="bars-name" title={row.job_type}>
                    {word(row.job_type)}
                  </span>
                  <span className="bars-track">
                    <span className="bars-fill" style={{ width: `${(100 * (row.count ?? 0)) / most}%` }} />
                  </span>
                  <span className="bars-value">{row.paused ? t("Paused") : (row.count ?? 0)}</span>
                </li>
              ))}
            </ul>
          ) : (
            <Text size="sm" c="dimmed">
              {t("None")}
            </Text>
          );
        }}
      </Await>
    </Card>
  );
}

/** The instances, and how far the peers are behind. */
function Serving() {
  const { t } = useI18n();
  const instances = useGet<Instance[]>("/seawall/ha/instances", {}, { refetchInterval: 10_000 });
  const peers = useGet<Peer[]>("/peers", {}, { refetchInterval: 10_000 });
  return (
    <Card
      title={t("Instances")}
      right={
        <Anchor component={Link} size="sm" to="/harbor/cluster">
          {t("Cluster")}
        </Anchor>
      }
    >
      <Await query={instances}>
        {(rows) => (
          <ul className="plain">
            {rows.map((row) => (
              <li key={row.id}>
                <Text size="sm">{row.hostname}</Text>
                <Status value={row.alive ? String(row.health?.status ?? "alive") : "dead"} />
              </li>
            ))}
            {peers.data?.map((peer) => (
              <li key={peer.name}>
                <Text size="sm">{peer.name}</Text>
                <Text size="sm" c="dimmed">
                  {t("Lag")}: {seconds(peer.lag_seconds)}
                </Text>
              </li>
            ))}
          </ul>
        )}
      </Await>
    </Card>
  );
}
