// Findings in artifacts of the whole registry, as the security hub and the search list them.
import type { VulnerabilityItem } from "../../api/types";
import { DataTable } from "../../components/table";
import { Digest, Empty } from "../../components/ui";
import { type List, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { artifactPath, within } from "../repositories/names";
import { FindingText } from "./finding";
import { Severity } from "./severity";

/** The findings that the condition leaves; page and order are in the address under `address`. */
export function useFindings(q: string | undefined, address: string) {
  return useList<VulnerabilityItem>("/security/vul", {
    query: { q, tune_count: true, with_tag: true },
    address,
  });
}

export function Findings(props: { label: string; none: string; list: List<VulnerabilityItem> }) {
  const { t } = useI18n();
  return (
    <DataTable
      label={props.label}
      list={props.list}
      rowKey={(row) => `${row.cve_id} ${row.digest} ${row.repository_name} ${row.package} ${row.version}`}
      empty={<Empty title={props.none} />}
      expand={(row) => <FindingText text={row.desc} links={row.links} />}
      columns={[
        { title: "CVE", cell: (row) => <b>{row.cve_id}</b> },
        { title: t("Severity"), cell: (row) => <Severity value={row.severity} /> },
        { title: "CVSS", cell: (row) => row.cvss_v3_score || "–" },
        { title: t("Repository"), cell: (row) => <span className="wrap">{row.repository_name}</span> },
        {
          title: t("Artifact"),
          cell: (row) => (
            <Digest
              value={row.digest}
              to={artifactPath(
                row.project_id,
                within(row.repository_name.split("/")[0], row.repository_name),
                row.digest,
              )}
            />
          ),
        },
        {
          title: t("Tags"),
          cell: (row) => <span className="wrap">{row.tags?.slice(0, 5).join(", ") || "–"}</span>,
        },
        {
          title: t("Package"),
          cell: (row) => <span className="wrap">{`${row.package} ${row.version}`}</span>,
        },
        { title: t("Fixed in"), cell: (row) => row.fixed_version || "–" },
      ]}
    />
  );
}
