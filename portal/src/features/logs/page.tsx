import { Group, NativeSelect, Text, TextInput } from "@mantine/core";
import type { PathOf } from "../../api/client";
import type { AuditLog } from "../../api/types";
import { DataTable, SearchInput, Toolbar } from "../../components/table";
import { DateTime, Empty, Page, Status } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import type { ProjectTab } from "../projects/tab";

export function Logs() {
  const { t } = useI18n();
  return (
    <Page title={t("Logs")} description={t("Who did what, and when.")}>
      <AuditList template="/auditlog-exts" />
    </Page>
  );
}

export function ProjectLogs({ project }: ProjectTab) {
  return <AuditList template="/projects/{project_name}/auditlog-exts" project={project.name} />;
}

// The fields have the time of the person's place; the API takes UTC.
const utc = (local: string, otherwise: string) => {
  const time = new Date(local);
  return local && !Number.isNaN(time.valueOf())
    ? time.toISOString().slice(0, 19).replace("T", " ")
    : otherwise;
};
const range = (from: string, until: string) =>
  `[${utc(from, "1970-01-01 00:00:00")}~${utc(until, "9999-12-31 23:59:59")}]`;

const OPERATIONS = ["create", "delete", "pull", "update", "login", "logout"];

function AuditList({ template, project }: { template: PathOf<"get">; project?: string }) {
  const { t, word } = useI18n();
  const [resource, setResource] = useFilter("resource");
  const [username, setUsername] = useFilter("user");
  const [operation, setOperation] = useFilter("operation", { push: true });
  const [from, setFrom] = useFilter("from", { push: true });
  const [until, setUntil] = useFilter("until", { push: true });
  const list = useList<AuditLog>(template, {
    path: project ? { project_name: project } : undefined,
    query: {
      q: q({
        resource: like(resource),
        username: like(username),
        operation,
        op_time: from || until ? range(from, until) : undefined,
      }),
    },
    address: "",
    sort: "-op_time",
    pageSize: 25,
  });
  return (
    <>
      <Toolbar
        search={setResource}
        value={resource}
        placeholder={t("Filter by resource")}
        refresh={list.refetch}
        left={
          <Group gap="xs">
            <SearchInput
              w={150}
              icon={false}
              label={t("Filter by user")}
              value={username}
              onChange={setUsername}
            />
            <NativeSelect
              aria-label={t("Operation")}
              value={operation}
              onChange={(event) => setOperation(event.currentTarget.value)}
              data={[
                { value: "", label: t("Every operation") },
                ...OPERATIONS.map((value) => ({ value, label: word(value) })),
              ]}
            />
            <TextInput
              type="datetime-local"
              step={1}
              aria-label={t("From")}
              title={t("From")}
              value={from}
              onChange={(event) => setFrom(event.currentTarget.value)}
            />
            <TextInput
              type="datetime-local"
              step={1}
              aria-label={t("Until")}
              title={t("Until")}
              value={until}
              onChange={(event) => setUntil(event.currentTarget.value)}
            />
          </Group>
        }
      />
      <div className="spaced">
        <DataTable
          label={t("Logs")}
          list={list}
          rowKey={(row) => row.id}
          empty={<Empty title={t("Nothing was logged that matches")} />}
          columns={[
            { title: t("Time"), sort: "op_time", cell: (row) => <DateTime value={row.op_time} seconds /> },
            { title: t("User"), cell: (row) => row.username || t("anonymous") },
            { title: t("Operation"), cell: (row) => word(row.operation) },
            { title: t("Kind"), cell: (row) => word(row.resource_type) },
            {
              title: t("Resource"),
              cell: (row) => (
                <Text size="sm" className="markdown" title={row.operation_description || undefined}>
                  {row.resource}
                </Text>
              ),
            },
            {
              title: t("Result"),
              cell: (row) => <Status value={row.operation_result === false ? "Failed" : "Success"} />,
            },
          ]}
        />
      </div>
    </>
  );
}
