import { Alert, Badge, Button, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { CircleCheck, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { CheckReport } from "../../api/types";
import { Card, Failure, Loading } from "../../components/ui";
import { useI18n } from "../../i18n";

export function Check() {
  const { t } = useI18n();
  const [asked, setAsked] = useState(false);
  const query = useQuery({
    queryKey: ["/seawall/ha/check"],
    queryFn: ({ signal }) => api.get<CheckReport>("/seawall/ha/check", { signal }),
    enabled: asked,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Card
      title={t("Check of every pair")}
      right={
        <Button
          size="xs"
          loading={query.isFetching}
          onClick={() => (asked ? query.refetch() : setAsked(true))}
        >
          {t("Check now")}
        </Button>
      }
    >
      {!asked ? (
        <Text size="sm" c="dimmed">
          {t("Tests keys, versions, clocks, database, storage and balancer between every two instances.")}
        </Text>
      ) : query.isPending ? (
        <Loading />
      ) : query.error ? (
        <Failure error={query.error} retry={query.refetch} />
      ) : (
        <Stack>
          {query.data.ok ? (
            <Alert color="teal" icon={<CircleCheck size={18} aria-hidden />} title={t("Nothing is wrong")} />
          ) : (
            query.data.faults.map((fault, index) => (
              <Alert
                key={index}
                color="red"
                icon={<TriangleAlert size={18} aria-hidden />}
                title={fault.message}
              >
                <Text size="sm">
                  <b>{t("Cure")}:</b> {fault.cure}
                </Text>
                <Text size="sm" c="dimmed">
                  {fault.instances.join(", ")}
                </Text>
              </Alert>
            ))
          )}
          <Text size="sm">{t("{n} pairs of instances were tested.", { n: query.data.pairs })}</Text>
          <Group gap={6}>
            {query.data.tested.map((name) => (
              <Badge key={name} variant="light" color="gray" tt="none">
                {name}
              </Badge>
            ))}
          </Group>
        </Stack>
      )}
    </Card>
  );
}
