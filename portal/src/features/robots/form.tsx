import {
  Alert,
  Button,
  Checkbox,
  Group,
  Modal,
  MultiSelect,
  NumberInput,
  Stack,
  Textarea,
  TextInput,
} from "@mantine/core";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import type {
  Access,
  PermissionCatalogue,
  Project,
  Robot,
  RobotCreated,
  RobotPermission,
} from "../../api/types";
import { useErrorText, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { key, Matrix } from "./permissions";

const DEFAULTS = [
  "repository:pull",
  "repository:push",
  "repository:list",
  "artifact:list",
  "artifact:read",
  "tag:list",
];

export function RobotForm(props: {
  robot: Partial<Robot>;
  project?: Project;
  onClose: () => void;
  onDone: (created?: RobotCreated) => void;
}) {
  const { t } = useI18n();
  const text = useErrorText();
  const { robot, project } = props;
  const old = (kind: string) => robot.permissions?.filter((item) => item.kind === kind) ?? [];
  const [name, setName] = useState(robot.name ?? "");
  const [description, setDescription] = useState(robot.description ?? "");
  const [days, setDays] = useState(robot.duration ?? 30);
  const everywhere = !project && (old("project").some((item) => item.namespace === "*") || !robot.id);
  const [all, setAll] = useState(everywhere);
  const [namespaces, setNamespaces] = useState(
    old("project")
      .map((item) => item.namespace)
      .filter((n) => n !== "*"),
  );
  const [inProject, setInProject] = useState<string[]>(
    robot.id ? (old("project")[0]?.access ?? []).map(key) : DEFAULTS,
  );
  const [inSystem, setInSystem] = useState<string[]>((old("system")[0]?.access ?? []).map(key));
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const catalogue = useGet<PermissionCatalogue>("/permissions");
  const projects = useList<Project>("/projects", { pageSize: 100 }, { enabled: !project });

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const access = (keys: string[]): Access[] =>
      keys.map((item) => ({
        resource: item.slice(0, item.lastIndexOf(":")),
        action: item.slice(item.lastIndexOf(":") + 1),
      }));
    const permissions: RobotPermission[] = [];
    const where = project ? [project.name] : all ? ["*"] : namespaces;
    if (inProject.length) {
      for (const namespace of where)
        permissions.push({ kind: "project", namespace, access: access(inProject) });
    }
    if (!project && inSystem.length)
      permissions.push({ kind: "system", namespace: "/", access: access(inSystem) });
    if (!permissions.length) {
      setError(t("Choose at least one permission and where it holds."));
      return;
    }
    const body = {
      ...robot,
      name,
      description,
      duration: days,
      level: project ? "project" : "system",
      disable: robot.disable ?? false,
      permissions,
    };
    setBusy(true);
    try {
      if (robot.id) {
        await api.put("/robots/{robot_id}", { path: { robot_id: robot.id }, body });
        props.onDone();
      } else {
        props.onDone(await api.post<RobotCreated>("/robots", { body }));
      }
    } catch (problem) {
      setError(text(problem));
      setBusy(false);
    }
  };

  return (
    <Modal
      opened
      onClose={props.onClose}
      size="xl"
      title={robot.id ? t("Edit robot account") : t("New robot account")}
      closeOnClickOutside={false}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <form onSubmit={submit}>
        <Stack gap="sm">
          <Group grow align="flex-start">
            <TextInput
              label={t("Name")}
              required
              disabled={!!robot.id}
              value={name}
              data-autofocus
              description={t("A prefix is put before it.")}
              onChange={(event) => setName(event.currentTarget.value)}
            />
            <NumberInput
              label={t("Days until it expires")}
              description={t("-1 means never")}
              min={-1}
              hideControls
              value={days}
              onChange={(value) => setDays(Number(value))}
            />
          </Group>
          <Textarea
            label={t("Description")}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
          {!project && (
            <Stack gap="xs">
              <Checkbox
                label={t("All projects, those to come included")}
                checked={all}
                onChange={(event) => setAll(event.currentTarget.checked)}
              />
              {!all && (
                <MultiSelect
                  label={t("Projects")}
                  searchable
                  data={projects.rows.map((item) => item.name)}
                  value={namespaces}
                  onChange={setNamespaces}
                />
              )}
            </Stack>
          )}
          {catalogue.data && (
            <>
              <Matrix
                title={t("In projects")}
                items={catalogue.data.project ?? []}
                chosen={inProject}
                onChange={setInProject}
              />
              {!project && (
                <Matrix
                  title={t("In the system")}
                  items={catalogue.data.system ?? []}
                  chosen={inSystem}
                  onChange={setInSystem}
                />
              )}
            </>
          )}
          {error && (
            <Alert color="red" role="alert">
              {error}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={props.onClose}>
              {t("Cancel")}
            </Button>
            <Button type="submit" loading={busy}>
              {robot.id ? t("Save") : t("Create")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
