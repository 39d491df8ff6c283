// The last pushes of the registry or of a project, from the audit log.
import { Text } from "@mantine/core";
import type { PathOf } from "../../api/client";
import type { AuditLog } from "../../api/types";
import { Card, ShortList, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function RecentPushes({ project }: { project?: string }) {
  const { t } = useI18n();
  const template: PathOf<"get"> = project ? "/projects/{project_name}/auditlog-exts" : "/auditlog-exts";
  const query = useGet<AuditLog[]>(template, {
    path: project ? { project_name: project } : undefined,
    query: { q: "operation=create,resource_type=artifact", sort: "-op_time", page_size: 8 },
  });
  return (
    <Card title={t("Recent pushes")}>
      <ShortList query={query} none={t("Nothing was pushed yet")} rowKey={(row) => row.id}>
        {(row) => (
          <>
            <Text size="sm" className="wrap">
              {row.resource}
            </Text>
            <Text size="sm" c="dimmed">
              {row.username} · <Time value={row.op_time} />
            </Text>
          </>
        )}
      </ShortList>
    </Card>
  );
}
