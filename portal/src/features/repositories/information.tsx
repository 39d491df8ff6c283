import { Anchor, Button, Group, Stack, Text, Textarea } from "@mantine/core";
import { Suspense, useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import type { Project, Repository } from "../../api/types";
import { Await, Card, Facts, Loading, Time } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { Markdown } from "../artifacts/files";
import { ROOT } from "../artifacts/list";
import { usePermissions } from "../projects/permissions";
import { within } from "./names";

export function Information({ project, repository }: { project: Project; repository: string }) {
  const { t } = useI18n();
  const { can } = usePermissions(project.project_id);
  const path = { project_name: project.name, repository_name: repository };
  const query = useGet<Repository>(ROOT, { path });
  const [text, setText] = useState<string | null>(null);
  const save = useAction(async (description: string) => {
    await api.put(ROOT, { path, body: { description } });
    setText(null);
  }, "Saved");
  return (
    <Await query={query}>
      {(found) => (
        <div className="grid wide">
          <Card title={t("Description")}>
            {text === null ? (
              <Stack align="flex-start">
                {found.description ? (
                  <Suspense fallback={<Loading />}>
                    <Markdown text={found.description} />
                  </Suspense>
                ) : (
                  <Text size="sm" c="dimmed">
                    {t("No description yet.")}
                  </Text>
                )}
                {can("repository", "update") && (
                  <Button size="xs" variant="default" onClick={() => setText(found.description ?? "")}>
                    {t("Edit")}
                  </Button>
                )}
              </Stack>
            ) : (
              <Stack>
                <Textarea
                  aria-label={t("Description")}
                  autosize
                  minRows={6}
                  value={text}
                  onChange={(event) => setText(event.currentTarget.value)}
                />
                <Group gap="xs">
                  <Button size="xs" onClick={() => save.mutate(text)} loading={save.isPending}>
                    {t("Save")}
                  </Button>
                  <Button size="xs" variant="default" onClick={() => setText(null)}>
                    {t("Cancel")}
                  </Button>
                </Group>
              </Stack>
            )}
          </Card>
          <Card title={t("Repository")}>
            <Facts
              items={[
                [t("Name"), within(project.name, found.name)],
                [
                  t("Project"),
                  <Anchor key="p" component={Link} to={`/harbor/projects/${project.project_id}`}>
                    {project.name}
                  </Anchor>,
                ],
                [t("Artifacts"), found.artifact_count ?? 0],
                [t("Pulls"), found.pull_count ?? 0],
                [t("Created"), <Time key="c" value={found.creation_time} />],
                [t("Last change"), <Time key="u" value={found.update_time} />],
              ]}
            />
          </Card>
        </div>
      )}
    </Await>
  );
}
