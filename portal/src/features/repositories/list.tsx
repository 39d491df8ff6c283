import { Anchor, Button, Popover, Stack, Text } from "@mantine/core";
import { Terminal } from "lucide-react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Repository } from "../../api/types";
import { ResourceTable } from "../../components/resource-table";
import { Command, Empty, Time } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import { useSession } from "../../session";
import { pushCommands, registryHost } from "../artifacts/commands";
import type { ProjectTab } from "../projects/tab";
import { within } from "./names";

export function Repositories({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const { info } = useSession();
  const [name, setName] = useFilter("name");
  const host = registryHost(info.registry_url ?? info.external_url);
  const list = useList<Repository>("/projects/{project_name}/repositories", {
    path: { project_name: project.name },
    query: { q: q({ name: like(name) }) },
    sort: "-update_time",
    address: "",
  });
  const mayDelete = can("repository", "delete");
  const push = can("repository", "push") && (
    <Popover position="bottom-end" width={560} trapFocus withArrow>
      <Popover.Target>
        <Button variant="default" leftSection={<Terminal size={16} aria-hidden />}>
          {t("Push command")}
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="sm">
          {pushCommands(host, project.name).map(([client, command]) => (
            <div key={client}>
              <Text size="xs" fw={600} mb={2}>
                {client}
              </Text>
              <Command value={command} />
            </div>
          ))}
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
  return (
    <Stack gap="md">
      <ResourceTable<Repository>
        label={t("Repositories")}
        list={list}
        rowKey={(row) => row.name}
        name={(row) => within(project.name, row.name)}
        search={{ value: name, onChange: setName }}
        buttons={push}
        selectable={mayDelete}
        empty={
          name ? (
            <Empty title={t("No repository matches")} />
          ) : (
            <Empty title={t("No repositories yet")}>
              <p>{t("A repository appears with the first push to it.")}</p>
              {can("repository", "push") && (
                <Command value={`docker push ${host}/${project.name}/REPOSITORY[:TAG]`} />
              )}
            </Empty>
          )
        }
        columns={[
          {
            title: t("Name"),
            sort: "name",
            cell: (row) => (
              <Anchor
                component={Link}
                fw={600}
                to={`/harbor/projects/${project.project_id}/repositories/${encodeURIComponent(within(project.name, row.name))}/artifacts-tab`}
              >
                {row.name}
              </Anchor>
            ),
          },
          { title: t("Artifacts"), align: "right", cell: (row) => row.artifact_count ?? 0 },
          { title: t("Pulls"), align: "right", cell: (row) => row.pull_count ?? 0 },
          { title: t("Last change"), sort: "update_time", cell: (row) => <Time value={row.update_time} /> },
        ]}
        remove={
          mayDelete && {
            run: (row) =>
              api.delete("/projects/{project_name}/repositories/{repository_name}", {
                path: { project_name: project.name, repository_name: within(project.name, row.name) },
              }),
            consequence: t("All its artifacts and tags go with it. This cannot be undone."),
          }
        }
      />
    </Stack>
  );
}
