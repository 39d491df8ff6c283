// The panel on the right with what the user has started: what runs, what failed, and all of it.
import { Badge, Button, Drawer, Group, Progress, SegmentedControl, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useEffect, useState } from "react";
import { useI18n } from "../i18n";
import { clearEnded, type Operation, useOperations } from "../lib/operations";
import { DateTime } from "./ui";

type Shown = "all" | "running" | "failed";

export function EventLog({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const operations = useOperations();
  const [shown, setShown] = useState<Shown>("all");
  // The panel says what they say, and they would cover it.
  useEffect(() => notifications.clean(), []);
  const rows = operations.filter((item) => shown === "all" || item.state === shown);
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      title={t("Event log")}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <Stack gap="sm">
        <Group justify="space-between">
          <SegmentedControl
            size="xs"
            aria-label={t("Status")}
            value={shown}
            onChange={(value) => setShown(value as Shown)}
            data={[
              { value: "all", label: t("All") },
              { value: "running", label: t("Running") },
              { value: "failed", label: t("Failed") },
            ]}
          />
          <Button
            size="xs"
            variant="default"
            disabled={operations.every((item) => item.state === "running")}
            onClick={clearEnded}
          >
            {t("Clear finished")}
          </Button>
        </Group>
        {rows.length === 0 && (
          <Text size="sm" c="dimmed">
            {t("What you start in this window is listed here, until you close it.")}
          </Text>
        )}
        <ul className="event-log" aria-label={t("Event log")}>
          {rows.map((item) => (
            <Row key={item.id} operation={item} />
          ))}
        </ul>
      </Stack>
    </Drawer>
  );
}

const COLORS = { running: "blue", done: "teal", failed: "red" };

function Row({ operation }: { operation: Operation }) {
  const { t, word } = useI18n();
  const { state, done, total, errors } = operation;
  const label = `${t(operation.label)} ${operation.target}`;
  return (
    <li>
      <Group justify="space-between" wrap="nowrap" gap="xs">
        <Text size="sm" fw={600} className="event-log-text">
          {label}
        </Text>
        <Badge variant="light" color={COLORS[state]} tt="none">
          {state === "running" ? t("Running") : state === "done" ? t("Success") : t("Failed")}
        </Badge>
      </Group>
      <Text size="xs" c="dimmed">
        <DateTime value={operation.started} seconds />
        {total ? ` · ${t("{done} of {n}", { done: done ?? 0, n: total })}` : ""}
      </Text>
      {state === "running" && (
        <Progress
          size="xs"
          mt={4}
          value={total ? (100 * (done ?? 0)) / total : 100}
          animated={!total}
          aria-label={label}
        />
      )}
      {errors.map((error) => (
        <Text size="xs" c="red" key={error} className="event-log-text">
          {error === "Interrupted" ? t("Interrupted: the page was left.") : word(error)}
        </Text>
      ))}
    </li>
  );
}
