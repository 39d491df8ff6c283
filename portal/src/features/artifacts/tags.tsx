import { ActionIcon, Badge, Button, Group, Stack, Table, Text, TextInput } from "@mantine/core";
import { Lock, Trash2 } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { Artifact, Tag } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { Card, Copyable, Time } from "../../components/ui";
import { useAction } from "../../hooks";
import { useI18n } from "../../i18n";
import { ROOT, type Where } from "./where";

export function TagsCard(props: { artifact: Artifact; where: Where; mayAdd: boolean; mayDelete: boolean }) {
  const { t } = useI18n();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const { artifact, where } = props;
  const tags = artifact.tags ?? [];
  const add = useAction(async (tag: string) => {
    await api.create(`${ROOT}/tags`, { path: where, body: { name: tag } });
    setName("");
  }, "Tag added");
  const remove = useAction(
    (tag: Tag) => api.delete(`${ROOT}/tags/{tag_name}`, { path: { ...where, tag_name: tag.name } }),
    "Deleted",
  );
  return (
    <Card title={t("Tags")}>
      <Stack gap="xs">
        {tags.length ? (
          <Table aria-label={t("Tags")}>
            <Table.Tbody>
              {tags.map((tag) => (
                <Table.Tr key={tag.id}>
                  <Table.Td>
                    <Copyable value={tag.name}>
                      <Text fw={600} size="sm">
                        {tag.name}
                      </Text>
                    </Copyable>
                  </Table.Td>
                  <Table.Td>
                    {tag.immutable && (
                      <Badge
                        variant="light"
                        color="gray"
                        tt="none"
                        leftSection={<Lock size={10} aria-hidden />}
                      >
                        {t("Immutable")}
                      </Badge>
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Time value={tag.push_time} />
                  </Table.Td>
                  <Table.Td ta="right">
                    {props.mayDelete && (
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
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
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
