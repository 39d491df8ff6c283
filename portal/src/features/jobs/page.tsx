// The job service: queues, schedules and workers.

import { Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import { Page } from "../../components/ui";
import { useI18n } from "../../i18n";
import { Queues } from "./queues";
import { Schedules } from "./schedules";
import { Workers } from "./workers";

export function Jobs() {
  const { t } = useI18n();
  const { tab = "pending-jobs" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Job service dashboard")} description={t("Work in the background of the whole cluster.")}>
      <Tabs
        value={tab}
        keepMounted={false}
        onChange={(next) => navigate(`/harbor/job-service-dashboard/${next}`)}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="pending-jobs">{t("Queues")}</Tabs.Tab>
          <Tabs.Tab value="schedules">{t("Schedules")}</Tabs.Tab>
          <Tabs.Tab value="workers">{t("Workers")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="pending-jobs">
          <Queues />
        </Tabs.Panel>
        <Tabs.Panel value="schedules">
          <Schedules />
        </Tabs.Panel>
        <Tabs.Panel value="workers">
          <Workers />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
