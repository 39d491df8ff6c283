// A repository: its artifacts, and its description.

import { Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import type { Project } from "../../api/types";
import { Await, Page } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { Artifacts } from "../artifacts/list";
import { Information } from "./information";

export function RepositoryPage() {
  const { t } = useI18n();
  const { project: id = "", repository = "", tab = "artifacts-tab" } = useParams();
  const navigate = useNavigate();
  const project = useGet<Project>("/projects/{project_name_or_id}", { path: { project_name_or_id: id } });
  return (
    <Await query={project}>
      {(found) => (
        <Page
          title={`${found.name}/${repository}`}
          crumbs={[
            { label: t("Projects"), to: "/harbor/projects" },
            { label: found.name, to: `/harbor/projects/${found.project_id}/repositories` },
            { label: repository },
          ]}
        >
          <Tabs
            value={tab}
            keepMounted={false}
            onChange={(next) =>
              navigate(
                `/harbor/projects/${found.project_id}/repositories/${encodeURIComponent(repository)}/${next}`,
              )
            }
          >
            <Tabs.List mb="md" aria-label={repository}>
              <Tabs.Tab value="artifacts-tab">{t("Artifacts")}</Tabs.Tab>
              <Tabs.Tab value="info-tab">{t("Information")}</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="artifacts-tab">
              <Artifacts project={found} repository={repository} />
            </Tabs.Panel>
            <Tabs.Panel value="info-tab">
              <Information project={found} repository={repository} />
            </Tabs.Panel>
          </Tabs>
        </Page>
      )}
    </Await>
  );
}
