// Sites that each take writes and copy one another: how far each is, what differs, and what was decided.

import { Badge, Button, Stack, Switch, Text } from "@mantine/core";
import { RefreshCw } from "lucide-react";
import { useState } from "react";
import { ApiError, api } from "../../api/client";
import type { Peer, PeerConflict } from "../../api/types";
import { DataTable } from "../../components/table";
import { Card, Empty, Status, Time } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { seconds } from "../../lib/format";

export function Peers() {
  const { t } = useI18n();
  const query = useGet<Peer[]>("/peers", {}, { refetchInterval: 5000, retry: false });
  const sync = useAction(() => api.post("/peers/sync"), "Started");
  const off = query.error instanceof ApiError && query.error.status === 404;
  const peers = query.data ?? [];
  if (off || (query.data && !peers.length)) {
    return (
      <div className="card">
        <Empty title={t("No peer sites")}>
          {t(
            "Peer sites each take pushes and copy one another, over storage of their own. They are named in the configuration files (peers).",
          )}
        </Empty>
      </div>
    );
  }
  return (
    <Stack>
      <Card
        title={t("Peer sites")}
        right={
          <Button
            size="xs"
            leftSection={<RefreshCw size={14} aria-hidden />}
            loading={sync.isPending}
            onClick={() => sync.mutate()}
          >
            {t("Sync now")}
          </Button>
        }
      >
        <DataTable
          label={t("Peer sites")}
          list={{
            rows: peers,
            loading: query.isPending,
            error: query.error,
            refetch: query.refetch,
          }}
          rowKey={(row) => row.name}
          empty={<Empty title={t("No peer sites")} />}
          expand={(row) => <Differences peer={row} />}
          columns={[
            {
              title: t("Site"),
              cell: (row) => (
                <div>
                  <b>{row.name}</b>
                  <Text size="xs" c="dimmed">
                    {row.url}
                  </Text>
                </div>
              ),
            },
            {
              title: t("State"),
              cell: (row) => (
                <div>
                  <Status value={row.reachable ? "reachable" : "away"} />
                  {row.error && (
                    <Text size="xs" c="dimmed" className="wrap">
                      {row.error}
                    </Text>
                  )}
                </div>
              ),
            },
            { title: t("Lag"), align: "right", cell: (row) => seconds(row.lag_seconds) },
            { title: t("Changes not yet copied"), align: "right", cell: (row) => row.behind ?? "–" },
            { title: t("Last sync"), cell: (row) => <Time value={row.last_sync_at} /> },
            {
              title: t("Differences"),
              align: "right",
              cell: (row) =>
                row.differences?.length ? (
                  <Badge color="orange" variant="light">
                    {row.differences.length}
                  </Badge>
                ) : (
                  0
                ),
            },
            { title: t("Conflicts"), align: "right", cell: (row) => row.conflicts ?? 0 },
          ]}
        />
      </Card>
      <Conflicts />
    </Stack>
  );
}

function Differences({ peer }: { peer: Peer }) {
  const { t, word } = useI18n();
  return (
    <Stack gap="xs">
      {peer.error && (
        <Text size="sm" c="red">
          {peer.error}
        </Text>
      )}
      <DataTable
        label={t("Differences to {name}", { name: peer.name })}
        list={{ rows: peer.differences ?? [] }}
        rowKey={(row) => `${row.kind} ${row.key}`}
        empty={<Empty title={t("Nothing differs")} />}
        columns={[
          { title: t("Kind"), cell: (row) => word(row.kind) },
          { title: t("Name"), cell: (row) => <b>{row.key}</b> },
          { title: t("Here"), cell: (row) => <code className="wrap">{shown(row.here)}</code> },
          { title: t("There"), cell: (row) => <code className="wrap">{shown(row.there)}</code> },
        ]}
      />
    </Stack>
  );
}

const shown = (value: unknown) =>
  value === null || value === undefined
    ? "–"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);

type Document = Record<string, unknown> | null | undefined;

/** The fields in which the two documents differ; what is the same in both says nothing. */
function differing(kept: Document, dropped: Document): string[] {
  const names = new Set([...Object.keys(kept ?? {}), ...Object.keys(dropped ?? {})]);
  return [...names].filter((name) => JSON.stringify(kept?.[name]) !== JSON.stringify(dropped?.[name]));
}

function Conflicts() {
  const { t, word } = useI18n();
  const query = useGet<PeerConflict[]>("/peers/conflicts", {}, { refetchInterval: 15_000, retry: false });
  const [all, setAll] = useState(false);
  const rows = (query.data ?? []).filter((row) => all || !row.acknowledged_at);
  const acknowledge = useAction(
    (row: PeerConflict) =>
      api.post("/peers/conflicts/{conflict_id}/acknowledge", { path: { conflict_id: row.id } }),
    "Acknowledged",
  );
  return (
    <Card
      title={t("Conflicts")}
      right={
        <Switch
          size="xs"
          label={t("Show acknowledged ones")}
          checked={all}
          onChange={(event) => setAll(event.currentTarget.checked)}
        />
      }
    >
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          {t("Two sites changed the same thing while they could not reach each other. One change was kept.")}
        </Text>
        <DataTable
          label={t("Conflicts")}
          list={{ rows, loading: query.isPending, error: query.error }}
          rowKey={(row) => row.id}
          expand={(row) => (
            <Stack gap="xs">
              {row.note && <Text size="sm">{row.note}</Text>}
              <DataTable
                label={t("Differences")}
                list={{
                  rows: differing(row.kept as Document, row.dropped as Document).map((name) => ({ name })),
                }}
                rowKey={({ name }) => name}
                empty={<Empty title={t("Nothing differs")} />}
                columns={[
                  { title: t("Field"), cell: ({ name }) => name },
                  { title: t("Kept"), cell: ({ name }) => shown((row.kept as Document)?.[name]) },
                  { title: t("Dropped"), cell: ({ name }) => shown((row.dropped as Document)?.[name]) },
                ]}
              />
            </Stack>
          )}
          empty={<Empty title={t("No conflicts")} />}
          columns={[
            { title: t("When"), cell: (row) => <Time value={row.at} /> },
            { title: t("Kind"), cell: (row) => word(row.kind) },
            { title: t("Name"), cell: (row) => <b className="wrap">{row.key}</b> },
            {
              title: t("Differs in"),
              cell: (row) =>
                row.dropped
                  ? differing(row.kept as Document, row.dropped as Document)
                      .slice(0, 4)
                      .join(", ") || "–"
                  : t("Deleted on one site"),
            },
            { title: t("Decided by"), cell: (row) => row.by },
            {
              title: t("Acknowledged"),
              cell: (row) =>
                row.acknowledged_at ? (
                  <>
                    {row.acknowledged_by} · <Time value={row.acknowledged_at} />
                  </>
                ) : (
                  <Button size="compact-xs" variant="default" onClick={() => acknowledge.mutate(row)}>
                    {t("Acknowledge")}
                  </Button>
                ),
            },
          ]}
        />
      </Stack>
    </Card>
  );
}
