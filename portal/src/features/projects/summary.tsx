import { Progress, Text } from "@mantine/core";
import type { ProjectSummary } from "../../api/types";
import { Await, Card, DateTime, Facts, YesNo } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { RecentPushes } from "../logs/recent";
import { ProjectStorage } from "../quotas/history";
import { roleName } from "./roles";
import type { ProjectTab } from "./tab";

export function Summary({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const query = useGet<ProjectSummary>("/projects/{project_name_or_id}/summary", {
    path: { project_name_or_id: project.project_id },
  });
  const metadata = project.metadata ?? {};
  return (
    <Await query={query}>
      {(summary) => {
        const used = summary.quota?.used?.storage ?? 0;
        const hard = summary.quota?.hard?.storage ?? -1;
        return (
          <div className="grid wide">
            <Card title={t("Project")}>
              <Facts
                items={[
                  [t("Repositories"), summary.repo_count ?? 0],
                  [t("Owner"), project.owner_name ?? "–"],
                  ...(summary.registry
                    ? [
                        [t("Proxy cache of"), `${summary.registry.name} (${summary.registry.url})`] as [
                          string,
                          string,
                        ],
                      ]
                    : []),
                  [t("Created"), <DateTime key="c" value={project.creation_time} />],
                  [t("Scan on push"), <YesNo key="s" value={metadata.auto_scan} />],
                  [t("SBOM on push"), <YesNo key="b" value={metadata.auto_sbom_generation} />],
                  [t("Vulnerable images are not served"), <YesNo key="v" value={metadata.prevent_vul} />],
                ]}
              />
            </Card>
            <Card title={t("Storage")}>
              <Text size="xl" fw={650}>
                {bytes(used)}
              </Text>
              <Text size="sm" c="dimmed" mb="sm">
                {hard < 0 ? t("No limit") : t("of {total}", { total: bytes(hard) })}
              </Text>
              {hard > 0 && (
                <Progress
                  value={Math.min(100, (100 * used) / hard)}
                  size="lg"
                  color={used / hard > 0.9 ? "red" : used / hard > 0.75 ? "orange" : "sea"}
                  aria-label={t("Storage used")}
                />
              )}
            </Card>
            {can("quota", "read") && <ProjectStorage project={project.project_id} />}
            {can("log", "list") && <RecentPushes project={project.name} />}
            {summary.project_admin_count !== undefined && (
              <Card title={t("Members")}>
                <Facts
                  items={[
                    [roleName(t, 1), summary.project_admin_count ?? 0],
                    [roleName(t, 4), summary.maintainer_count ?? 0],
                    [roleName(t, 2), summary.developer_count ?? 0],
                    [roleName(t, 3), summary.guest_count ?? 0],
                    [roleName(t, 5), summary.limited_guest_count ?? 0],
                  ]}
                />
              </Card>
            )}
          </div>
        );
      }}
    </Await>
  );
}
