import { Anchor, Button } from "@mantine/core";
import { Download } from "lucide-react";
import { useState } from "react";
import { api, url } from "../../api/client";
import type { ExportList, Project } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { DataTable } from "../../components/table";
import { Card, Empty, Status, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { logged } from "../../lib/operations";

/** Exports that the person has asked for; new ones are of `only`, where that is given. */
export function Exports({ only }: { only?: Project }) {
  const { t } = useI18n();
  const [asking, setAsking] = useState(false);
  const projects = useGet<Project[]>(
    "/projects",
    { query: { page_size: 100, sort: "name" } },
    { enabled: asking && !only },
  );
  const query = useGet<ExportList>(
    "/export/cve/executions",
    {},
    {
      refetchInterval: (current) =>
        current.state.data?.items?.some((item) => ["Running", "Pending"].includes(item.status))
          ? 2000
          : false,
    },
  );
  return (
    <Card
      title={t("CSV exports")}
      right={
        <Button size="xs" variant="default" onClick={() => setAsking(true)}>
          {t("New export")}
        </Button>
      }
    >
      <DataTable
        label={t("CSV exports")}
        list={{ rows: query.data?.items ?? [], error: query.error, refetch: query.refetch }}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No exports yet")} />}
        columns={[
          { title: t("Export"), cell: (row) => row.id },
          { title: t("Status"), cell: (row) => <Status value={row.status} title={row.status_text} /> },
          { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
          {
            title: t("File"),
            cell: (row) =>
              row.file_present ? (
                <Anchor
                  size="sm"
                  href={url("/export/cve/download/{execution_id}", {
                    path: { execution_id: row.id },
                    query: { format: "csv" },
                  })}
                  download
                >
                  <Download size={13} aria-hidden /> {t("Download")}
                </Anchor>
              ) : (
                "–"
              ),
          },
        ]}
      />
      <FormModal
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("New export")}
        submit={t("Start")}
        initial={only ? { project: String(only.project_id) } : {}}
        fields={[
          ...(only
            ? []
            : [
                {
                  name: "project",
                  label: t("Project"),
                  type: "select" as const,
                  required: true,
                  options: [
                    { value: "", label: "" },
                    ...(projects.data ?? []).map((item) => ({
                      value: String(item.project_id),
                      label: item.name ?? "",
                    })),
                  ],
                },
              ]),
          { name: "repositories", label: t("Repositories"), placeholder: "library/*", help: t("Empty: all") },
          { name: "tags", label: t("Tags"), placeholder: "v*", help: t("Empty: all") },
          { name: "cveIds", label: t("CVEs, separated by commas"), help: t("Empty: all") },
        ]}
        onSubmit={async ({ project, ...values }) => {
          const number = only?.project_id ?? Number(project);
          await logged(
            "Export",
            only?.name ?? projects.data?.find((item) => item.project_id === number)?.name ?? "",
            () =>
              api.post<{ id: number }>("/export/cve", {
                headers: { "X-Scan-Data-Type": "application/vnd.security.vulnerability.report; version=1.1" },
                body: { job_name: "portal", labels: [], ...values, projects: [number] },
              }),
            ({ id }) => ({
              template: "/export/cve/execution/{execution_id}",
              options: { path: { execution_id: id } },
            }),
          );
          query.refetch();
        }}
      />
    </Card>
  );
}
