// Personal access tokens of who is signed in, and programs that signed in through the browser.

import { Alert, Modal, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { UserToken, UserTokenCreated } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Card, Command, Empty, Time } from "../../components/ui";
import { useList } from "../../hooks";
import { useI18n } from "../../i18n";

export function useScopes() {
  const { t } = useI18n();
  return [
    { value: "pull", label: t("Pull") },
    { value: "push", label: t("Pull and push") },
    { value: "api-read", label: t("Read through the API") },
    { value: "api-write", label: t("Change through the API") },
  ];
}

export function Tokens() {
  const { t } = useI18n();
  const scopes = useScopes();
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<UserTokenCreated | null>(null);
  const list = useList<UserToken>("/users/current/tokens", { address: "tokens" });
  const shown = (row: UserToken) =>
    row.scopes.map((name) => scopes.find((scope) => scope.value === name)?.label ?? name).join(", ");
  return (
    <Card title={t("Tokens for programs")}>
      <Stack>
        <Text size="sm" c="dimmed">
          {t("A token is the password of docker login and the API. It never allows more than you may do.")}
        </Text>
        <ResourceTable<UserToken>
          label={t("Tokens for programs")}
          list={list}
          rowKey={(row) => row.id}
          name={(row) => row.name}
          create={{ label: t("New token"), run: () => setMaking(true) }}
          empty={<Empty title={t("No tokens yet")}>{t("seawall login makes one too.")}</Empty>}
          columns={[
            {
              title: t("Name"),
              cell: (row) => (
                <div>
                  <b>{row.name}</b>
                  {row.client && (
                    <Text size="xs" c="dimmed">
                      {row.client}
                    </Text>
                  )}
                </div>
              ),
            },
            { title: t("Allows"), cell: shown },
            { title: t("Projects"), cell: (row) => row.projects?.join(", ") ?? t("All projects") },
            { title: t("Expires"), cell: (row) => <Time value={row.expiration_time} /> },
            {
              title: t("Last used"),
              cell: (row) => (row.last_used_time ? <Time value={row.last_used_time} /> : "–"),
            },
          ]}
          remove={{
            run: (row) => api.delete("/users/current/tokens/{token_id}", { path: { token_id: row.id } }),
            consequence: t("Programs that use it are refused at once."),
          }}
        />
      </Stack>
      {making && (
        <FormModal
          opened
          onClose={() => setMaking(false)}
          title={t("New token")}
          submit={t("Create")}
          initial={{ scopes: ["pull"], expires_in_days: 30, projects: [] }}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "scopes", label: t("Allows"), type: "multi", options: scopes, required: true },
            {
              name: "projects",
              label: t("Projects"),
              type: "tags",
              help: t("Without any it is for all projects."),
            },
            {
              name: "expires_in_days",
              label: t("Days until it expires"),
              type: "number",
              min: 1,
              required: true,
            },
          ]}
          onSubmit={async (body) => {
            const projects = body.projects?.length ? body.projects : undefined;
            setMade(await api.post("/users/current/tokens", { body: { ...body, projects } }));
            list.refetch();
          }}
        />
      )}
      <Modal
        opened={!!made}
        onClose={() => setMade(null)}
        title={t("Token {name}", { name: made?.name ?? "" })}
        closeOnClickOutside={false}
        closeButtonProps={{ "aria-label": t("Close") }}
      >
        <Stack>
          <Alert color="orange">{t("It is shown only now. Copy it before you close this.")}</Alert>
          <Command value={made?.token ?? ""} />
        </Stack>
      </Modal>
    </Card>
  );
}
