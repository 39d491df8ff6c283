import { Button, Progress, Stack, Text } from "@mantine/core";
import { api } from "../../api/client";
import type { ScanStats, Schedule } from "../../api/types";
import { ScheduleEditor } from "../../components/schedule";
import { Card } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { logged } from "../../lib/operations";

export function ScanAll() {
  const { t } = useI18n();
  const stats = useGet<ScanStats>(
    "/scans/all/metrics",
    {},
    { refetchInterval: (query) => (query.state.data?.ongoing ? 2000 : 15_000) },
  );
  const schedule = useGet<Schedule>("/system/scanAll/schedule");
  const start = useAction(
    () =>
      logged(
        "Scan everything",
        "",
        () => api.create("/system/scanAll/schedule", { body: { schedule: { type: "Manual" } } }),
        () => ({ template: "/scans/all/metrics" }),
      ),
    "Started",
  );
  const stop = useAction(() => api.post("/system/scanAll/stop"), "Stopped");
  const save = useAction(
    (value: object) => api.put("/system/scanAll/schedule", { body: { schedule: value } }),
    "Saved",
  );
  return (
    <Card
      title={t("Scan everything")}
      right={
        stats.data?.ongoing ? (
          <Button size="xs" variant="default" onClick={() => stop.mutate()}>
            {t("Stop")}
          </Button>
        ) : (
          <Button size="xs" onClick={() => start.mutate()}>
            {t("Scan now")}
          </Button>
        )
      }
    >
      <Stack>
        {!!stats.data?.total && (
          <div>
            <Progress
              value={(100 * stats.data.completed) / stats.data.total}
              animated={stats.data.ongoing}
              aria-label={t("Scan everything")}
            />
            <Text size="sm" mt={6}>
              {t("{done} of {total}", { done: stats.data.completed, total: stats.data.total })}{" "}
              {Object.entries(stats.data.metrics ?? {}).map(([name, n]) => (
                <Text span key={name} size="sm" c="dimmed" ml="sm">
                  {name}: {n}
                </Text>
              ))}
            </Text>
          </div>
        )}
        {schedule.data !== undefined || schedule.error ? (
          <ScheduleEditor
            key={schedule.data?.schedule?.cron}
            value={schedule.data?.schedule}
            busy={save.isPending}
            onSave={(value) => save.mutate(value)}
          />
        ) : null}
      </Stack>
    </Card>
  );
}
