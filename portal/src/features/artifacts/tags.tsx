import { ActionIcon, Badge, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { Lock, Trash2 } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Artifact, Tag } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { DataTable, SearchInput } from "../../components/table";
import { Card, Copyable, Empty, Time } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { like, q } from "../../lib/format";
import { ROOT, type Where } from "./where";

export function TagsCard(props: { artifact: Artifact; where: Where; mayAdd: boolean; mayDelete: boolean }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const { where } = props;
  const [filter, setFilter] = useState("");
  const list = useList<Tag>(`${ROOT}/tags`, {
    path: where,
    query: { q: q({ name: like(filter) }), with_immutable_status: true },
    sort: "-push_time",
    pageSize: 8,
  });
  const many = (props.artifact.tags?.length ?? 0) > 8;
  const add = useAction(
    async (tag: string) => {
      await api.create(`${ROOT}/tags`, {
        path: { ...where, reference: props.artifact.digest },
        body: { name: tag },
      });
      setName("");
    },
    "Tag added",
    (tag) => t("Could not add the tag {name}", { name: tag }),
  );
  const digest = props.artifact.digest;
  const remove = useAction(
    async (tag: Tag) => {
      // By digest: the page may have been opened by the very tag that goes.
      const path = { ...where, reference: digest };
      await api.delete(`${ROOT}/tags/{tag_name}`, { path: { ...path, tag_name: tag.name } });
      const id = `undo-${digest}-${tag.name}`;
      notifications.show({
        id,
        color: "teal",
        autoClose: 15_000,
        message: (
          <Group gap="sm" justify="space-between">
            <span>{t("The tag {name} is deleted.", { name: tag.name })}</span>
            <Button
              size="compact-xs"
              variant="default"
              onClick={() => {
                notifications.hide(id);
                // The manifest is still there: the tag is put on it again.
                add.mutate(tag.name);
              }}
            >
              {t("Undo")}
            </Button>
          </Group>
        ),
      });
    },
    undefined,
    (tag) => t("Could not delete {name}", { name: tag.name }),
  );
  return (
    <Card title={many ? t("Tags ({n})", { n: props.artifact.tags?.length ?? 0 }) : t("Tags")}>
      <Stack gap="xs">
        {many && <SearchInput value={filter} onChange={setFilter} label={t("Filter by tag")} w="100%" />}
        {props.artifact.tags?.length ? (
          <DataTable
            label={t("Tags")}
            list={{ ...list, setPageSize: undefined }}
            rowKey={(tag) => tag.id}
            empty={<Empty title={t("Nothing matches")} />}
            columns={[
              {
                title: t("Tag"),
                cell: (tag) => (
                  <Copyable value={tag.name}>
                    <Text fw={600} size="sm" className="tag-name" title={tag.name}>
                      {tag.name}
                    </Text>
                  </Copyable>
                ),
              },
              {
                title: t("State"),
                cell: (tag) =>
                  tag.immutable && (
                    <Badge
                      variant="light"
                      color="gray"
                      tt="none"
                      leftSection={<Lock size={10} aria-hidden />}
                    >
                      {t("Immutable")}
                    </Badge>
                  ),
              },
              { title: t("Pushed"), cell: (tag) => <Time value={tag.push_time} /> },
              {
                title: t("Delete"),
                align: "right",
                cell: (tag) =>
                  props.mayDelete && (
                    <ActionIcon
                      variant="subtle"
                      color="red"
                      disabled={tag.immutable}
                      aria-label={t("Delete tag {name}", { name: tag.name })}
                      onClick={async () => {
                        const yes = await confirm({
                          title: t("Delete tag {name}?", { name: tag.name }),
                          body: t("The artifact stays, without this tag."),
                          confirm: t("Delete"),
                          danger: true,
                        });
                        if (yes) remove.mutate(tag);
                      }}
                    >
                      <Trash2 size={15} aria-hidden />
                    </ActionIcon>
                  ),
              },
            ]}
          />
        ) : (
          <Text size="sm" c="dimmed">
            {t("This artifact has no tag.")}
          </Text>
        )}
        {props.mayAdd && (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (name.trim()) add.mutate(name.trim());
            }}
          >
            <Group gap="xs">
              <TextInput
                size="xs"
                placeholder={t("New tag")}
                aria-label={t("New tag")}
                value={name}
                error={!!name && !/^\w[\w.-]{0,127}$/.test(name)}
                onChange={(event) => setName(event.currentTarget.value)}
              />
              <Button size="xs" type="submit" variant="default" loading={add.isPending}>
                {t("Add")}
              </Button>
            </Group>
          </form>
        )}
      </Stack>
    </Card>
  );
}
