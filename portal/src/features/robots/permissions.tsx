import { Button, Checkbox, Group, ScrollArea, Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { Permission, RobotPermission } from "../../api/types";
import { useI18n } from "../../i18n";

export function PermissionText({ permissions }: { permissions: RobotPermission[] }) {
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

export const key = (item: Permission) => `${item.resource}:${item.action}`;
export function Matrix(props: {
  title: string;
  items: Permission[];
  chosen: string[];
  onChange: (keys: string[]) => void;
  /** Before the names of the boxes, where several matrices stand in one form. */
  prefix?: string;
  right?: ReactNode;
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
          {props.right}
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
                          aria-label={`${props.prefix ?? ""}${item.resource} ${item.action}`}
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
