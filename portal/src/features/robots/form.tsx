// A robot account: its rights in each project, and in the system.
import {
  ActionIcon,
  Alert,
  Button,
  Checkbox,
  Group,
  Modal,
  NumberInput,
  Select,
  Stack,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { Trash2 } from "lucide-react";
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
import { changes } from "../../components/dialogs";
import { Await } from "../../components/ui";
import { useErrorText, useGet, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { Issuers } from "./issuers";
import { Matrix } from "./permissions";

const DEFAULTS = [
  "repository:pull",
  "repository:push",
  "repository:list",
  "artifact:list",
  "artifact:read",
  "tag:list",
];
const access = (keys: string[]): Access[] =>
  keys.map((item) => ({
    resource: item.slice(0, item.lastIndexOf(":")),
    action: item.slice(item.lastIndexOf(":") + 1),
  }));

interface Props {
  robot: Partial<Robot>;
  project?: Project;
  onClose: () => void;
  onDone: (created?: RobotCreated) => void;
}

export function RobotForm(props: Props) {
  const { t } = useI18n();
  const { robot, project } = props;
  // What is stored now: the list may be older than somebody else's change.
  const stored = useGet<Robot>(
    "/robots/{robot_id}",
    { path: { robot_id: robot.id } },
    { enabled: !!robot.id, staleTime: 0 },
  );
  const [first, setFirst] = useState<Partial<Robot> | null>(null);
  if (robot.id && !first && stored.data && !stored.isFetching) setFirst(stored.data);
  const fresh: Partial<Robot> = {
    ...robot,
    permissions: [
      { kind: "project", namespace: project?.name ?? "*", access: access(DEFAULTS) } as RobotPermission,
    ],
  };
  const start = robot.id ? first : fresh;
  return (
    <Modal
      opened
      onClose={props.onClose}
      size="xl"
      title={robot.id ? t("Edit robot account") : t("New robot account")}
      closeOnClickOutside={false}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      {start ? (
        <Body {...props} stored={start} />
      ) : (
        <Await query={{ ...stored, data: undefined }}>{() => null}</Await>
      )}
    </Modal>
  );
}

// The draft is the stored robot itself: each field changes its own part of it, and the whole is sent.
function Body({ stored, project, onClose, onDone }: Props & { stored: Partial<Robot> }) {
  const { t } = useI18n();
  const text = useErrorText();
  const [draft, setDraft] = useState<Partial<Robot>>(stored);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [adding, setAdding] = useState("");
  const catalogue = useGet<PermissionCatalogue>("/permissions");
  const projects = useList<Project>("/projects", { pageSize: 100, sort: "name" }, { enabled: !project });
  const set = (part: Partial<Robot>) => setDraft((old) => ({ ...old, ...part }));
  const permissions = draft.permissions ?? [];
  const inProjects = permissions.filter((item) => item.kind === "project");
  const inSystem = permissions.find((item) => item.kind === "system");
  const everywhere = inProjects.some((item) => item.namespace === "*");
  // The permissions of one place; those of other places stay as they are.
  const change = (kind: string, namespace: string, next: string[] | null) => {
    const old = permissions.find((item) => item.kind === kind && item.namespace === namespace);
    const kept = new Map((old?.access ?? []).map((item) => [`${item.resource}:${item.action}`, item]));
    const entry = {
      ...old,
      kind,
      namespace,
      access: access(next ?? []).map((item) => kept.get(`${item.resource}:${item.action}`) ?? item),
    } as RobotPermission;
    const others = old ? permissions.map((item) => (item === old ? entry : item)) : [...permissions, entry];
    set({ permissions: next === null ? permissions.filter((item) => item !== old) : others });
  };
  const keys = (item?: RobotPermission) => (item?.access ?? []).map((one) => `${one.resource}:${one.action}`);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const body = { ...draft, permissions: permissions.filter((item) => item.access.length) };
    if (!body.permissions.length) {
      setError(t("Choose at least one permission and where it holds."));
      return;
    }
    setBusy(true);
    try {
      if (draft.id) {
        // What others changed meanwhile stays.
        await api.edit<Robot>("/robots/{robot_id}", { robot_id: draft.id }, (now) => ({
          ...now,
          ...changes(stored, body),
        }));
        onDone();
      } else {
        onDone(await api.post<RobotCreated>("/robots", { body: { disable: false, ...body } }));
      }
    } catch (problem) {
      setError(text(problem));
      setBusy(false);
    }
  };
  const free = projects.rows
    .map((item) => item.name ?? "")
    .filter((name) => !inProjects.some((item) => item.namespace === name));
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <Group grow align="flex-start">
          <TextInput
            label={t("Name")}
            required
            disabled={!!draft.id}
            value={draft.name ?? ""}
            data-autofocus
            description={t("A prefix is put before it.")}
            onChange={(event) => set({ name: event.currentTarget.value })}
          />
          <NumberInput
            label={t("Days until it expires")}
            description={t("-1 means never")}
            min={-1}
            hideControls
            value={draft.duration ?? 30}
            onChange={(value) => set({ duration: Number(value) })}
          />
        </Group>
        <Textarea
          label={t("Description")}
          value={draft.description ?? ""}
          onChange={(event) => set({ description: event.currentTarget.value })}
        />
        {!project && (
          <Stack gap="xs">
            <Checkbox
              label={t("All projects, those to come included")}
              checked={everywhere}
              onChange={(event) => change("project", "*", event.currentTarget.checked ? DEFAULTS : null)}
            />
            <Group gap="xs" align="flex-end">
              <Select
                label={everywhere ? t("Projects with rights of their own") : t("Projects")}
                placeholder={t("Add a project")}
                searchable
                data={free}
                value={adding || null}
                nothingFoundMessage={t("No project matches")}
                onChange={(name) => {
                  if (name)
                    change(
                      "project",
                      name,
                      keys(inProjects[inProjects.length - 1]).length
                        ? keys(inProjects[inProjects.length - 1])
                        : DEFAULTS,
                    );
                  setAdding("");
                }}
              />
            </Group>
          </Stack>
        )}
        {catalogue.data && (
          <>
            {inProjects.map((item) => (
              <section key={item.namespace} aria-label={item.namespace}>
                <Matrix
                  title={
                    project
                      ? t("In projects")
                      : item.namespace === "*"
                        ? t("In all projects")
                        : t("In project {name}", { name: item.namespace })
                  }
                  prefix={project || item.namespace === "*" ? "" : `${item.namespace} `}
                  items={catalogue.data?.project ?? []}
                  chosen={keys(item)}
                  onChange={(next) => change("project", item.namespace, next)}
                  right={
                    !project &&
                    item.namespace !== "*" && (
                      <ActionIcon
                        variant="subtle"
                        color="red"
                        aria-label={t("Remove {name}", { name: item.namespace })}
                        onClick={() => change("project", item.namespace, null)}
                      >
                        <Trash2 size={15} aria-hidden />
                      </ActionIcon>
                    )
                  }
                />
              </section>
            ))}
            {project && !inProjects.length && (
              <Button variant="default" onClick={() => change("project", project.name ?? "", DEFAULTS)}>
                {t("In projects")}
              </Button>
            )}
            {!project && !inProjects.length && (
              <Text size="sm" c="dimmed">
                {t("No project yet: choose one above, or all.")}
              </Text>
            )}
            {!project && (
              <Matrix
                title={t("In the system")}
                items={catalogue.data.system ?? []}
                chosen={keys(inSystem)}
                onChange={(next) => change("system", "/", next)}
              />
            )}
          </>
        )}
        <Issuers
          value={draft.trusted_issuers ?? []}
          onChange={(trusted_issuers) => set({ trusted_issuers })}
        />
        {error && (
          <Alert color="red" role="alert">
            {error}
          </Alert>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("Cancel")}
          </Button>
          <Button type="submit" loading={busy}>
            {draft.id ? t("Save") : t("Create")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
