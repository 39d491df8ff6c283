// Scanners, the scan of everything, the allowlist, and the security hub.

import { Stack, Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import { Page } from "../../components/ui";
import { useI18n } from "../../i18n";
import { Allowlist } from "./allowlist";
import { ScanAll } from "./scan-all";
import { Scanners } from "./scanners";
import { SecurityHub } from "./security-hub";

export function Interrogation() {
  const { t } = useI18n();
  const { tab = "scanners" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Interrogation services")} description={t("Scanners and what they found.")}>
      <Tabs
        value={tab}
        keepMounted={false}
        onChange={(next) => navigate(`/harbor/interrogation-services/${next}`)}
      >
        <Tabs.List mb="md" className="tabs">
          <Tabs.Tab value="scanners">{t("Scanners")}</Tabs.Tab>
          <Tabs.Tab value="vulnerability">{t("Vulnerability")}</Tabs.Tab>
          <Tabs.Tab value="security-hub">{t("Security hub")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="scanners">
          <Scanners />
        </Tabs.Panel>
        <Tabs.Panel value="vulnerability">
          <Stack>
            <ScanAll />
            <Allowlist />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="security-hub">
          <SecurityHub />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
