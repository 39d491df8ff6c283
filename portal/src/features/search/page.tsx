import { Anchor, Badge } from "@mantine/core";
import { Link, useSearchParams } from "react-router";
import type { SearchResult } from "../../api/types";
import { DataTable } from "../../components/table";
import { Await, Card, Empty, Page } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { BuiltOn, HoldersOfLayer } from "../artifacts/holders";
import { within } from "../repositories/names";
import { Findings, useFindings } from "../scanning/findings";
import { imageOf, isCve, isDigest } from "./words";

export function SearchPage() {
  const { t } = useI18n();
  const { admin } = useSession();
  const [params] = useSearchParams();
  const words = params.get("q") ?? "";
  const base = imageOf(words);
  const query = useGet<SearchResult>("/search", { query: { q: words } }, { enabled: !!words });
  return (
    <Page title={t("Search")} description={words ? t("Results for “{words}”", { words }) : undefined}>
      {!words ? (
        <Empty title={t("Type what you look for above")} />
      ) : (
        <Await query={query}>
          {(result) => (
            <>
              {admin && isCve(words) && <Affected cve={words.trim()} />}
              {isDigest(words) && <HoldersOfLayer digest={words.trim()} />}
              {base && (
                <Card title={t("Images built on {name}", { name: words.trim() })}>
                  <BuiltOn where={base} name={words.trim()} address="built_" />
                </Card>
              )}
              <Card title={t("Projects")}>
                <DataTable
                  label={t("Projects")}
                  list={{ rows: result.project ?? [] }}
                  rowKey={(row) => row.project_id}
                  empty={<Empty title={t("No project matches")} />}
                  columns={[
                    {
                      title: t("Project"),
                      cell: (row) => (
                        <Anchor
                          component={Link}
                          to={`/harbor/projects/${row.project_id}/repositories`}
                          fw={600}
                        >
                          {row.name}
                        </Anchor>
                      ),
                    },
                    {
                      title: t("Access level"),
                      cell: (row) => (
                        <Badge
                          variant="light"
                          color={row.metadata?.public === "true" ? "teal" : "gray"}
                          tt="none"
                        >
                          {row.metadata?.public === "true" ? t("Public") : t("Private")}
                        </Badge>
                      ),
                    },
                    { title: t("Repositories"), align: "right", cell: (row) => row.repo_count ?? 0 },
                  ]}
                />
              </Card>
              <Card title={t("Repositories")}>
                <DataTable
                  label={t("Repositories")}
                  list={{ rows: result.repository ?? [] }}
                  rowKey={(row) => row.repository_name}
                  empty={<Empty title={t("No repository matches")} />}
                  columns={[
                    {
                      title: t("Repository"),
                      cell: (row) => (
                        <Anchor
                          component={Link}
                          fw={600}
                          to={`/harbor/projects/${row.project_id}/repositories/${encodeURIComponent(within(row.project_name, row.repository_name))}/artifacts-tab`}
                        >
                          {row.repository_name}
                        </Anchor>
                      ),
                    },
                    { title: t("Artifacts"), align: "right", cell: (row) => row.artifact_count ?? 0 },
                    { title: t("Pulls"), align: "right", cell: (row) => row.pull_count ?? 0 },
                  ]}
                />
              </Card>
            </>
          )}
        </Await>
      )}
    </Page>
  );
}

/** Where a vulnerability is: each artifact of the registry in which a scan found it. */
function Affected({ cve }: { cve: string }) {
  const { t } = useI18n();
  // Names are stored as their sources write them: in capitals, but for the end of a GHSA.
  const name = /^ghsa/i.test(cve)
    ? cve.slice(0, 4).toUpperCase() + cve.slice(4).toLowerCase()
    : cve.toUpperCase();
  const title = t("Artifacts with {cve}", { cve: name });
  return (
    <Card title={title}>
      <Findings
        label={title}
        none={t("No scanned artifact has it")}
        list={useFindings(`cve_id=${name}`, "cve_")}
      />
    </Card>
  );
}
