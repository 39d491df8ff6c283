import { Group, NativeSelect, Text, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import type { PathOf } from "../../api/client";
import type { AuditLog } from "../../api/types";
import { DataTable, Toolbar } from "../../components/table";
import { DateTime, Empty, Page, Status } from "../../components/ui";
import { like, q } from "../../format";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
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

const OPERATIONS = ["create", "delete", "pull", "update", "login", "logout"];

function AuditList({ template, project }: { template: PathOf<"get">; project?: string }) {
  const { t, word } = useI18n();
  const [resource, setResource] = useState("");
  const [username, setUsername] = useState("");
  const [operation, setOperation] = useState("");
  const list = useList<AuditLog>(template, {
    path: project ? { project_name: project } : undefined,
    query: { q: q({ resource: like(resource), username: like(username), operation }) },
    sort: "-op_time",
    pageSize: 25,
  });
  const user = useDebouncedCallback((value: string) => setUsername(value.trim()), 250);
  return (
    <>
      <Toolbar
        search={setResource}
        placeholder={t("Filter by resource")}
        refresh={list.refetch}
        left={
          <Group gap="xs">
            <TextInput
              type="search"
              w={180}
              aria-label={t("Filter by user")}
              placeholder={t("Filter by user")}
              onChange={(event) => user(event.currentTarget.value)}
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
            { title: t("Time"), sort: "op_time", cell: (row) => <DateTime value={row.op_time} /> },
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
