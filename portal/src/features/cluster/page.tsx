// The instances that together are this registry, and the check that finds what is wrong between them.

import { Stack, Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import { Page } from "../../components/ui";
import { useI18n } from "../../i18n";
import { Check } from "./check";
import { DisasterRecovery } from "./disaster-recovery";
import { Components, Instances } from "./instances";
import { Peers } from "./peers";

export function Cluster() {
  const { t } = useI18n();
  const { tab = "instances" } = useParams();
  const navigate = useNavigate();
  return (
    <Page
      title={t("Cluster")}
      description={t("Every instance serves the whole registry; any of them may stop.")}
    >
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/cluster/${next}`)}>
        <Tabs.List mb="md" className="tabs">
          <Tabs.Tab value="instances">{t("Instances")}</Tabs.Tab>
          <Tabs.Tab value="dr">{t("Disaster recovery")}</Tabs.Tab>
          <Tabs.Tab value="peers">{t("Peer sites")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="instances">
          <Stack>
            <Components />
            <Instances />
            <Check />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="dr">
          <DisasterRecovery />
        </Tabs.Panel>
        <Tabs.Panel value="peers">
          <Peers />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
