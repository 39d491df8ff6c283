import { Button, Group, Radio, Stack } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { Scanner } from "../../api/types";
import { Await, Card, Empty, Facts, Status } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { Exports } from "../scanning/exports";
import type { ProjectTab } from "./tab";

export function ProjectScanner({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const path = { project_name_or_id: project.project_id };
  const current = useGet<Scanner>("/projects/{project_name_or_id}/scanner", { path });
  const mayChange = can("scanner", "create");
  const candidates = useGet<Scanner[]>(
    "/projects/{project_name_or_id}/scanner/candidates",
    { path },
    { enabled: mayChange },
  );
  const [chosen, setChosen] = useState<string | null>(null);
  const save = useAction(
    (uuid: string) => api.put("/projects/{project_name_or_id}/scanner", { path, body: { uuid } }),
    "Saved",
  );
  return (
    <Stack>
      <Await query={current}>
        {(scanner) =>
          scanner?.uuid ? (
            <div className="grid wide">
              <Card title={t("Scanner of this project")}>
                <Facts
                  items={[
                    [t("Name"), scanner.name],
                    [t("Address"), scanner.url || "–"],
                    [
                      t("Adapter"),
                      [scanner.adapter, scanner.vendor, scanner.version].filter(Boolean).join(" · ") || "–",
                    ],
                    [t("Health"), scanner.health ? <Status key="h" value={scanner.health} /> : "–"],
                  ]}
                />
              </Card>
              {mayChange && (candidates.data?.length ?? 0) > 1 && (
                <Card title={t("Use another")}>
                  <Stack>
                    <Radio.Group value={chosen ?? scanner.uuid} onChange={setChosen} label={t("Scanner")}>
                      <Stack gap="xs" mt="xs">
                        {candidates.data?.map((item) => (
                          <Radio
                            key={item.uuid}
                            value={item.uuid}
                            label={item.name}
                            disabled={item.disabled}
                          />
                        ))}
                      </Stack>
                    </Radio.Group>
                    <Group>
                      <Button
                        size="xs"
                        disabled={!chosen || chosen === scanner.uuid}
                        onClick={() => chosen && save.mutate(chosen)}
                      >
                        {t("Save")}
                      </Button>
                    </Group>
                  </Stack>
                </Card>
              )}
            </div>
          ) : (
            <Empty title={t("No scanner")}>
              {t("An administrator registers scanners under Interrogation services.")}
            </Empty>
          )
        }
      </Await>
      {can("export-cve", "create") && <Exports only={project} />}
    </Stack>
  );
}
