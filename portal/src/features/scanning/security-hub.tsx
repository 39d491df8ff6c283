import { Anchor, Group, Stack, Text } from "@mantine/core";
import { Link } from "react-router";
import type { SecuritySummary } from "../../api/types";
import { Await, Card } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { artifactPath } from "../repositories/names";
import { Exports } from "./exports";
import { VulnerabilitySearch } from "./search";
import { BySeverity, Severity } from "./severity";

export function SecurityHub() {
  const { t, word } = useI18n();
  const query = useGet<SecuritySummary>("/security/summary", {
    query: { with_dangerous_cve: true, with_dangerous_artifact: true },
  });
  return (
    <Stack>
      <Await query={query}>
        {(summary) => {
          return (
            <>
              <div className="grid stats">
                {(
                  [
                    [t("Vulnerabilities"), summary.total_vuls],
                    [t("Can be fixed"), summary.fixable_cnt],
                    [t("Artifacts scanned"), summary.scanned_cnt],
                    [t("Artifacts"), summary.total_artifact],
                  ] as [string, number | undefined][]
                ).map(([label, value]) => (
                  <div className="card stat" key={label}>
                    <b>{value ?? 0}</b>
                    <span>{label}</span>
                  </div>
                ))}
              </div>
              <BySeverity summary={summary} />
              <div className="grid wide">
                <Card title={t("Most dangerous artifacts")}>
                  {summary.dangerous_artifacts?.length ? (
                    <ul className="plain">
                      {summary.dangerous_artifacts.map((item) => (
                        <li key={item.repository_name + item.digest}>
                          <Anchor
                            component={Link}
                            size="sm"
                            to={artifactPath(
                              item.project_id,
                              item.repository_name.split("/").slice(1).join("/"),
                              item.digest,
                            )}
                          >
                            {item.repository_name}@{item.digest.slice(7, 19)}
                          </Anchor>
                          <Group gap="sm">
                            <span className="sev">
                              <i className="sev-critical" aria-hidden />
                              {item.critical_cnt ?? 0} {word("Critical")}
                            </span>
                            <span className="sev">
                              <i className="sev-high" aria-hidden />
                              {item.high_cnt ?? 0} {word("High")}
                            </span>
                          </Group>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <Text size="sm" c="dimmed">
                      {t("None")}
                    </Text>
                  )}
                </Card>
                <Card title={t("Most dangerous CVEs")}>
                  {summary.dangerous_cves?.length ? (
                    <ul className="plain">
                      {summary.dangerous_cves.map((item) => (
                        <li key={`${item.cve_id} ${item.package} ${item.version}`}>
                          <div>
                            <b>{item.cve_id}</b>{" "}
                            <Text span size="sm" c="dimmed">
                              {item.package} {item.version}
                            </Text>
                          </div>
                          <Group gap="sm">
                            <Severity value={item.severity} />
                            {!!item.cvss_score_v3 && <Text size="sm">CVSS {item.cvss_score_v3}</Text>}
                          </Group>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <Text size="sm" c="dimmed">
                      {t("None")}
                    </Text>
                  )}
                </Card>
              </div>
            </>
          );
        }}
      </Await>
      <VulnerabilitySearch />
      <Exports />
    </Stack>
  );
}
