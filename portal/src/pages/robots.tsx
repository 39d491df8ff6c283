// Robot accounts: of the system, reaching several projects, and of one project.
import {
  Alert,
  Badge,
  Button,
  Checkbox,
  Group,
  Modal,
  MultiSelect,
  NumberInput,
  ScrollArea,
  Stack,
  Table,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { api } from "../api/client";
import type {
  Access,
  Permission,
  PermissionCatalogue,
  Project,
  Robot,
  RobotCreated,
  RobotPermission,
} from "../api/types";
import { useConfirm } from "../components/confirm";
import { DataTable, Toolbar } from "../components/table";
import { Command, DateTime, Empty, Page, Time } from "../components/ui";
import { like, q } from "../format";
import { useAction, useErrorText, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";
import type { ProjectTab } from "./project";

export function SystemRobots() {
  const { t } = useI18n();
  return (
    <Page
      title={t("Robot accounts")}
      description={t("Accounts for programs. Those of the system may reach several projects.")}
    >
      <RobotList may={{ create: true, update: true, delete: true }} />
    </Page>
  );
}

export function ProjectRobots({ project, can }: ProjectTab) {
  return (
    <RobotList
      project={project}
      may={{
        create: can("robot", "create"),
        update: can("robot", "update") || can("robot", "create"),
        delete: can("robot", "delete"),
      }}
    />
  );
}

function RobotList(props: { project?: Project; may: { create: boolean; update: boolean; delete: boolean } }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [editing, setEditing] = useState<Partial<Robot> | null>(null);
  const [secret, setSecret] = useState<Pick<RobotCreated, "name" | "secret"> | null>(null);
  const { project, may } = props;
  const list = useList<Robot>("/robots", {
    query: {
      q: q(
        project
          ? { Level: "project", ProjectID: project.project_id, name: like(name) }
          : { Level: "system", name: like(name) },
      ),
    },
    sort: "-creation_time",
  });
  const put = useAction(
    (row: Robot) => api.put("/robots/{robot_id}", { path: { robot_id: row.id }, body: row }),
    "Saved",
  );
  const renew = useAction(async (row: Robot) => {
    const answer = await api.patch<{ secret: string }>("/robots/{robot_id}", {
      path: { robot_id: row.id },
      body: { secret: "" },
    });
    setSecret({ name: row.name, secret: answer.secret });
  });
  const remove = useAction(
    (row: Robot) => api.delete("/robots/{robot_id}", { path: { robot_id: row.id } }),
    "Deleted",
  );
  return (
    <>
      <Toolbar search={setName} refresh={list.refetch}>
        {may.create && (
          <Button
            leftSection={<Plus size={16} aria-hidden />}
            onClick={() => setEditing({ level: project ? "project" : "system", duration: 30 })}
          >
            {t("New robot account")}
          </Button>
        )}
      </Toolbar>
      <div className="spaced">
        <DataTable
          label={t("Robot accounts")}
          list={list}
          rowKey={(row) => row.id}
          empty={
            <Empty title={name ? t("No robot account matches") : t("No robot accounts yet")}>
              {t("A robot account lets a pipeline push or pull without a person's password.")}
            </Empty>
          }
          expand={(row) => <PermissionText permissions={row.permissions ?? []} />}
          columns={[
            {
              title: t("Name"),
              sort: "name",
              cell: (row) => (
                <div>
                  <b>{row.name}</b>
                  {row.description && (
                    <Text size="xs" c="dimmed">
                      {row.description}
                    </Text>
                  )}
                </div>
              ),
            },
            {
              title: t("State"),
              cell: (row) => {
                const late = !!row.expires_at && row.expires_at > 0 && row.expires_at * 1000 < Date.now();
                return (
                  <Badge color={late ? "red" : row.disable ? "gray" : "teal"} variant="light" tt="none">
                    {late ? t("Expired") : row.disable ? t("Disabled") : t("Enabled")}
                  </Badge>
                );
              },
            },
            {
              title: t("Reach"),
              cell: (row) =>
                row.permissions
                  ?.map((item) =>
                    item.kind === "system"
                      ? t("System")
                      : item.namespace === "*"
                        ? t("All projects")
                        : item.namespace,
                  )
                  .join(", ") || "–",
            },
            {
              title: t("Expires"),
              cell: (row) =>
                !row.expires_at || row.expires_at < 0 ? (
                  t("Never")
                ) : (
                  <DateTime value={row.expires_at * 1000} />
                ),
            },
            { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
          ]}
          actions={[
            { label: t("Edit"), hidden: (row) => !may.update || row.editable === false, run: setEditing },
            {
              label: t("New secret"),
              hidden: () => !may.update,
              run: async (row) => {
                const yes = await confirm({
                  title: t("New secret for {name}?", { name: row.name }),
                  body: t("The old secret stops working at once."),
                  confirm: t("New secret"),
                });
                if (yes) renew.mutate(row);
              },
            },
            {
              label: t("Enable or disable"),
              hidden: () => !may.update,
              run: (row) => put.mutate({ ...row, disable: !row.disable }),
            },
            {
              label: t("Delete"),
              danger: true,
              hidden: () => !may.delete,
              run: async (row) => {
                const yes = await confirm({
                  title: t("Delete {name}?", { name: row.name }),
                  body: t("What uses it can no longer sign in."),
                  confirm: t("Delete"),
                  danger: true,
                });
                if (yes) remove.mutate(row);
              },
            },
          ]}
        />
      </div>
      {editing && (
        <RobotForm
          robot={editing}
          project={project}
          onClose={() => setEditing(null)}
          onDone={(created) => {
            setEditing(null);
            if (created) setSecret(created);
            list.refetch();
          }}
        />
      )}
      <Modal
        opened={!!secret}
        onClose={() => setSecret(null)}
        title={t("Secret of {name}", { name: secret?.name ?? "" })}
        closeOnClickOutside={false}
        closeButtonProps={{ "aria-label": t("Close") }}
      >
        <Stack>
          <Alert color="orange">{t("Copy it now: it is shown this once only.")}</Alert>
          <Command value={secret?.secret ?? ""} />
          <Group justify="flex-end">
            <Button onClick={() => setSecret(null)}>{t("Done")}</Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

function PermissionText({ permissions }: { permissions: RobotPermission[] }) {
  const { t } = useI18n();
  return (
    <Stack gap={6}>
      {permissions.map((item) => {
        const by = new Map<string, string[]>();
        for (const access of item.access)
          by.set(access.resource, [...(by.get(access.resource) ?? []), access.action]);
        return (
          <Text size="sm" key={`${item.kind} ${item.namespace}`}>
            <b>
              {item.kind === "system"
                ? t("System")
                : item.namespace === "*"
                  ? t("All projects")
                  : item.namespace}
            </b>
            {": "}
            {[...by].map(([resource, actions]) => `${resource} (${actions.join(", ")})`).join("; ")}
          </Text>
        );
      })}
    </Stack>
  );
}

const key = (item: Permission) => `${item.resource}:${item.action}`;
const DEFAULTS = [
  "repository:pull",
  "repository:push",
  "repository:list",
  "artifact:list",
  "artifact:read",
  "tag:list",
];

function RobotForm(props: {
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

function Matrix(props: {
  title: string;
  items: Permission[];
  chosen: string[];
  onChange: (keys: string[]) => void;
}) {
  const { t } = useI18n();
  const resources = [...new Set(props.items.map((item) => item.resource))];
  const toggle = (name: string, on: boolean) =>
    props.onChange(on ? [...props.chosen, name] : props.chosen.filter((other) => other !== name));
  return (
    <div>
      <Group justify="space-between" mb={4}>
        <Text fw={600} size="sm">
          {props.title} ({props.chosen.length})
        </Text>
        <Group gap={4}>
          <Button size="compact-xs" variant="subtle" onClick={() => props.onChange(props.items.map(key))}>
            {t("All")}
          </Button>
          <Button size="compact-xs" variant="subtle" onClick={() => props.onChange([])}>
            {t("None")}
          </Button>
        </Group>
      </Group>
      <ScrollArea.Autosize mah={260} className="table-card" viewportProps={{ tabIndex: 0 }}>
        <Table aria-label={props.title} verticalSpacing={6}>
          <Table.Tbody>
            {resources.map((resource) => (
              <Table.Tr key={resource}>
                <Table.Th scope="row">{resource}</Table.Th>
                <Table.Td>
                  <Group gap="md">
                    {props.items
                      .filter((item) => item.resource === resource)
                      .map((item) => (
                        <Checkbox
                          key={key(item)}
                          size="xs"
                          label={item.action}
                          aria-label={`${item.resource} ${item.action}`}
                          checked={props.chosen.includes(key(item))}
                          onChange={(event) => toggle(key(item), event.currentTarget.checked)}
                        />
                      ))}
                  </Group>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </ScrollArea.Autosize>
    </div>
  );
}
