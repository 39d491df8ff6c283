import { Anchor, Button, Progress, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Configurations, Quota } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page } from "../../components/ui";
import { useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { UsageChart } from "./chart";

const GIB = 1024 ** 3;
const gib = (value: number) => (value < 0 ? -1 : value / GIB);
const inBytes = (limit: number | undefined) =>
  limit === undefined ? undefined : limit < 0 ? -1 : Math.round(limit * GIB);
const share = (row: Quota) =>
  (row.hard?.storage ?? -1) > 0 ? (100 * (row.used?.storage ?? 0)) / (row.hard?.storage ?? 1) : 0;
const tone = (percent: number) => (percent > 90 ? "red" : percent > 75 ? "orange" : "sea");

export function Quotas() {
  const { t } = useI18n();
  const [editing, setEditing] = useState<Quota | null>(null);
  const [standard, setStandard] = useState(false);
  const list = useList<Quota>("/quotas", {
    query: { reference: "project" },
    sort: "-used.storage",
    address: "",
  });
  const top = useGet<Quota[]>("/quotas", {
    query: { reference: "project", sort: "-used.storage", page_size: 8 },
  });
  const config = useGet<Configurations>("/configurations");
  const limit = Number(config.data?.storage_per_project?.value ?? -1);
  const limitField = {
    name: "limit",
    label: t("Storage quota (GiB)"),
    type: "number" as const,
    min: -1,
    required: true,
    help: t("-1 means no limit"),
  };
  return (
    <Page
      title={t("Project quotas")}
      description={t("How much each project stores, and how much it may.")}
      actions={
        config.data && (
          <Button variant="default" onClick={() => setStandard(true)}>
            {t("Default: {limit}", { limit: limit < 0 ? t("No limit") : bytes(limit) })}
          </Button>
        )
      }
    >
      {!!top.data?.length && <UsageChart quotas={top.data} />}
      <Toolbar refresh={list.refetch} />
      <DataTable
        label={t("Project quotas")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No projects yet")} />}
        columns={[
          {
            title: t("Project"),
            cell: (row) => (
              <Anchor component={Link} fw={600} to={`/harbor/projects/${row.ref?.id}/summary`}>
                {row.ref?.name}
              </Anchor>
            ),
          },
          { title: t("Owner"), cell: (row) => row.ref?.owner_name || "–" },
          {
            title: t("Storage"),
            sort: "used.storage",
            cell: (row) => (
              <Stack gap={4} miw={220}>
                <Text size="sm">
                  {bytes(row.used?.storage)}{" "}
                  <Text span c="dimmed" size="sm">
                    {(row.hard?.storage ?? -1) < 0
                      ? t("No limit")
                      : t("of {total}", { total: bytes(row.hard?.storage) })}
                  </Text>
                </Text>
                {(row.hard?.storage ?? -1) > 0 && (
                  <Progress
                    size="sm"
                    value={Math.min(100, share(row))}
                    color={tone(share(row))}
                    aria-label={t("Storage of {name}", { name: row.ref?.name ?? "" })}
                  />
                )}
              </Stack>
            ),
          },
        ]}
        actions={[{ label: t("Edit"), run: setEditing }]}
      />
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={t("Quota of {name}", { name: editing.ref?.name ?? "" })}
          submit={t("Save")}
          initial={{ hard: editing.hard ?? {} }}
          fields={[
            {
              ...limitField,
              get: (quota) => gib(quota.hard?.storage ?? -1),
              // Other limits than that of storage stay.
              put: (quota, limit: number) => ({ ...quota, hard: { ...quota.hard, storage: inBytes(limit) } }),
            },
          ]}
          onSubmit={(body) => api.put("/quotas/{id}", { path: { id: editing.id }, body })}
        />
      )}
      <FormModal
        opened={standard}
        onClose={() => setStandard(false)}
        title={t("Quota of new projects")}
        submit={t("Save")}
        initial={{ storage: limit }}
        fields={[
          {
            ...limitField,
            get: (value) => gib(value.storage),
            put: (_, value: number) => ({ storage: inBytes(value) }),
          },
        ]}
        onSubmit={({ storage }) => api.put("/configurations", { body: { storage_per_project: storage } })}
      />
    </Page>
  );
}
