// Robot accounts: of the system, reaching several projects, and of one project.

import { Alert, Badge, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { Project, Robot, RobotCreated } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { ResourceTable } from "../../components/resource-table";
import { Command, DateTime, Empty, Page, Time } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import type { ProjectTab } from "../projects/tab";
import { RobotForm } from "./form";
import { PermissionText } from "./permissions";

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
  const [name, setName] = useFilter("name");
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
    address: "",
  });
  const put = useAction(
    (row: Robot) =>
      api.edit<Robot>("/robots/{robot_id}", { robot_id: row.id }, (stored) => ({
        ...stored,
        disable: !row.disable,
      })),
    "Saved",
  );
  const renew = useAction(async (row: Robot) => {
    const answer = await api.patch<{ secret: string }>("/robots/{robot_id}", {
      path: { robot_id: row.id },
      body: { secret: "" },
    });
    setSecret({ name: row.name, secret: answer.secret });
  });
  return (
    <>
      <ResourceTable<Robot>
        name={(row) => row.name}
        search={{ value: name, onChange: setName }}
        create={
          may.create && {
            label: t("New robot account"),
            run: () => setEditing({ level: project ? "project" : "system", duration: 30 }),
          }
        }
        selectable={may.delete}
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
              !row.expires_at || row.expires_at < 0 ? t("Never") : <DateTime value={row.expires_at * 1000} />,
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
            label: (row) => (row.disable ? t("Enable") : t("Disable")),
            hidden: (row) => !may.update || row.editable === false,
            run: (row) => put.mutate(row),
          },
        ]}
        remove={
          may.delete && {
            run: (row) => api.delete("/robots/{robot_id}", { path: { robot_id: row.id } }),
            consequence: t("What uses it can no longer sign in."),
          }
        }
      />
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
