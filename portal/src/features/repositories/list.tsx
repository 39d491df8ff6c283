import { Anchor, Button, Popover, Stack, Text } from "@mantine/core";
import { Terminal } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Repository } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { DataTable, Toolbar } from "../../components/table";
import { Command, Empty, Time } from "../../components/ui";
import { like, q } from "../../format";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { pushCommands, registryHost } from "../artifacts/commands";
import type { ProjectTab } from "../projects/tab";
import { within } from "./names";

export function Repositories({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const { info } = useSession();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [selected, setSelected] = useState<(string | number)[]>([]);
  const host = registryHost(info.registry_url ?? info.external_url);
  const list = useList<Repository>("/projects/{project_name}/repositories", {
    path: { project_name: project.name },
    query: { q: q({ name: like(name) }) },
    sort: "-update_time",
  });
  const remove = useAction(async (names: string[]) => {
    for (const repository_name of names) {
      await api.delete("/projects/{project_name}/repositories/{repository_name}", {
        path: { project_name: project.name, repository_name },
      });
    }
    setSelected([]);
  }, "Deleted");
  const mayDelete = can("repository", "delete");
  const askDelete = async (names: string[]) => {
    const yes = await confirm({
      title:
        names.length === 1
          ? t("Delete {name}?", { name: names[0] })
          : t("Delete {n} repositories?", { n: names.length }),
      body: t("All its artifacts and tags go with it. This cannot be undone."),
      confirm: t("Delete"),
      danger: true,
    });
    if (yes) remove.mutate(names);
  };
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
      <Toolbar search={setName} refresh={list.refetch}>
        {mayDelete && selected.length > 0 && (
          <Button color="red" variant="light" onClick={() => askDelete(selected.map(String))}>
            {t("Delete {n}", { n: selected.length })}
          </Button>
        )}
        {push}
      </Toolbar>
      <DataTable
        label={t("Repositories")}
        list={list}
        rowKey={(row) => within(project.name, row.name)}
        selected={mayDelete ? selected : undefined}
        onSelect={mayDelete ? setSelected : undefined}
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
        actions={
          mayDelete
            ? [
                {
                  label: t("Delete"),
                  danger: true,
                  run: (row) => askDelete([within(project.name, row.name)]),
                },
              ]
            : undefined
        }
      />
    </Stack>
  );
}
