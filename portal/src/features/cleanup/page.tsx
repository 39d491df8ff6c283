// Garbage collection and the rotation of the audit log.

import { Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import { Page } from "../../components/ui";
import { useI18n } from "../../i18n";
import { Garbage } from "./garbage";
import { Purge } from "./log-rotation";

export function CleanUp() {
  const { t } = useI18n();
  const { tab = "gc" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Clean up")} description={t("Frees storage, and keeps the audit log short.")}>
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/clearing-job/${next}`)}>
        <Tabs.List mb="md">
          <Tabs.Tab value="gc">{t("Garbage collection")}</Tabs.Tab>
          <Tabs.Tab value="audit-log-purge">{t("Log rotation")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="gc">
          <Garbage />
        </Tabs.Panel>
        <Tabs.Panel value="audit-log-purge">
          <Purge />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
