// When a job runs by itself: Harbor's choices, and cron with six fields (seconds first).
import { Button, Group, NativeSelect, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { ScheduleObject } from "../api/types";
import { useI18n } from "../i18n";
import { DateTime } from "./ui";

export const CRONS: Record<string, string> = {
  Hourly: "0 0 * * * *",
  Daily: "0 0 0 * * *",
  Weekly: "0 0 0 * * 0",
};
export const isCron = (value: string) => value.trim().split(/\s+/).length === 6;

export function ScheduleEditor(props: {
  value: ScheduleObject | null | undefined;
  onSave: (schedule: ScheduleObject) => void;
  busy?: boolean;
}) {
  const { t, word } = useI18n();
  const stored = props.value?.type && props.value.type !== "Manual" ? props.value.type : "None";
  const [type, setType] = useState<string | null>(null);
  const [cron, setCron] = useState<string | null>(null);
  const kind = type ?? (stored === "Schedule" ? "Custom" : stored);
  const text = cron ?? props.value?.cron ?? "";
  const wrong = kind === "Custom" && !isCron(text);
  return (
    <Group align="flex-end" gap="sm">
      <NativeSelect
        label={t("Schedule")}
        value={kind}
        onChange={(event) => setType(event.currentTarget.value)}
        data={["None", "Hourly", "Daily", "Weekly", "Custom"].map((value) => ({ value, label: word(value) }))}
      />
      {kind === "Custom" && (
        <TextInput
          label={t("Cron")}
          placeholder="0 30 2 * * *"
          description={t("Six fields, seconds first; UTC")}
          value={text}
          error={wrong && !!text}
          onChange={(event) => setCron(event.currentTarget.value)}
        />
      )}
      <Button
        variant="default"
        disabled={wrong}
        loading={props.busy}
        onClick={() =>
          props.onSave({
            type: kind as ScheduleObject["type"],
            cron: kind === "None" ? "" : kind === "Custom" ? text.trim() : CRONS[kind],
          })
        }
      >
        {t("Save schedule")}
      </Button>
      {props.value?.next_scheduled_time && stored !== "None" && (
        <Text size="sm" c="dimmed">
          {t("Next run")}: <DateTime value={props.value.next_scheduled_time} />
        </Text>
      )}
    </Group>
  );
}
