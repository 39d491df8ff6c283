import { Badge, Button } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api } from "../../api/client";
import type { User } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { DataTable, Toolbar } from "../../components/table";
import { Empty, Page, Time } from "../../components/ui";
import { like, q } from "../../format";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { accountFields, passwordFields } from "../account/fields";

export function Users() {
  const { t } = useI18n();
  const { user, info } = useSession();
  const confirm = useConfirm();
  const [name, setName] = useState("");
  const [creating, create] = useDisclosure(false);
  const [resetting, setResetting] = useState<User | null>(null);
  const list = useList<User>("/users", { query: { q: q({ username: like(name) }) }, sort: "username" });
  const local = !info.auth_mode || info.auth_mode === "db_auth";
  const promote = useAction(
    (row: User) =>
      api.put("/users/{user_id}/sysadmin", {
        path: { user_id: row.user_id },
        body: { sysadmin_flag: !row.sysadmin_flag },
      }),
    "Saved",
  );
  const remove = useAction(
    (row: User) => api.delete("/users/{user_id}", { path: { user_id: row.user_id } }),
    "Deleted",
  );
  return (
    <Page
      title={t("Users")}
      description={
        local
          ? undefined
          : t("Accounts come from {provider}; they appear here after their first login.", {
              provider: info.oidc_provider_name || info.auth_mode || "",
            })
      }
      actions={
        local && (
          <Button leftSection={<Plus size={16} aria-hidden />} onClick={create.open}>
            {t("New user")}
          </Button>
        )
      }
    >
      <Toolbar search={setName} refresh={list.refetch} />
      <DataTable
        label={t("Users")}
        list={list}
        rowKey={(row) => row.user_id}
        empty={<Empty title={name ? t("No user matches") : t("No users yet")} />}
        columns={[
          { title: t("User name"), sort: "username", cell: (row) => <b>{row.username}</b> },
          { title: t("Full name"), cell: (row) => row.realname || "–" },
          { title: t("Email"), sort: "email", cell: (row) => row.email || "–" },
          {
            title: t("Administrator"),
            cell: (row) =>
              row.sysadmin_flag ? (
                <Badge variant="light" tt="none">
                  {t("Yes")}
                </Badge>
              ) : (
                t("No")
              ),
          },
          { title: t("Created"), sort: "creation_time", cell: (row) => <Time value={row.creation_time} /> },
        ]}
        actions={[
          {
            label: t("Make or unmake administrator"),
            hidden: (row) => row.user_id === user?.user_id,
            run: async (row) => {
              const yes = await confirm({
                title: row.sysadmin_flag
                  ? t("Take administration from {name}?", { name: row.username })
                  : t("Make {name} an administrator?", { name: row.username }),
                body: row.sysadmin_flag
                  ? t("The account keeps its projects.")
                  : t("An administrator may do everything, in every project."),
                confirm: row.sysadmin_flag ? t("Take away") : t("Make administrator"),
              });
              if (yes) promote.mutate(row);
            },
          },
          { label: t("Set password"), hidden: () => !local, run: setResetting },
          {
            label: t("Delete"),
            danger: true,
            hidden: (row) => row.user_id === user?.user_id || row.user_id === 1,
            run: async (row) => {
              const yes = await confirm({
                title: t("Delete {name}?", { name: row.username }),
                body: t("The account's memberships go with it; what it pushed stays."),
                confirm: t("Delete"),
                danger: true,
              });
              if (yes) remove.mutate(row);
            },
          },
        ]}
      />
      <FormModal
        opened={creating}
        onClose={create.close}
        title={t("New user")}
        submit={t("Create")}
        fields={accountFields(t)}
        initial={{}}
        onSubmit={async ({ again: _, ...body }) => {
          await api.create("/users", { body });
          list.refetch();
        }}
      />
      {resetting && (
        <FormModal
          opened
          onClose={() => setResetting(null)}
          title={t("New password for {name}", { name: resetting.username })}
          submit={t("Save")}
          fields={passwordFields(t, "new_password")}
          initial={{}}
          onSubmit={({ new_password }) =>
            api.put("/users/{user_id}/password", {
              path: { user_id: resetting.user_id },
              body: { new_password },
            })
          }
        />
      )}
    </Page>
  );
}
