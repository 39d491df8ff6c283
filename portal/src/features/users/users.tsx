import { Badge } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useState } from "react";
import { api } from "../../api/client";
import type { User } from "../../api/types";
import { useConfirm } from "../../components/confirm";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Page, Time } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { like, q } from "../../lib/format";
import { useSession } from "../../session";
import { accountFields, passwordFields } from "../account/fields";
import { Identities } from "./identities";

export function Users() {
  const { t } = useI18n();
  const { user, info } = useSession();
  const confirm = useConfirm();
  const [name, setName] = useFilter("name");
  const [creating, create] = useDisclosure(false);
  const [known, setKnown] = useState<User | null>(null);
  const [resetting, setResetting] = useState<User | null>(null);
  const list = useList<User>("/users", {
    query: { q: q({ username: like(name) }) },
    sort: "username",
    address: "",
  });
  const local = !info.auth_mode || info.auth_mode === "db_auth";
  const promote = useAction(
    (row: User) =>
      api.put("/users/{user_id}/sysadmin", {
        path: { user_id: row.user_id },
        body: { sysadmin_flag: !row.sysadmin_flag },
      }),
    "Saved",
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
    >
      <ResourceTable<User>
        name={(row) => row.username ?? ""}
        search={{ value: name, onChange: setName }}
        create={local && { label: t("New user"), run: create.open }}
        selectable
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
            label: (row) => (row.sysadmin_flag ? t("Take administration away") : t("Make administrator")),
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
          { label: t("Identities"), run: setKnown },
          { label: t("Set password"), hidden: () => !local, run: setResetting },
        ]}
        remove={{
          may: (row) => row.user_id !== user?.user_id && row.user_id !== 1,
          run: (row) => api.delete("/users/{user_id}", { path: { user_id: row.user_id } }),
          consequence: t("The account's memberships go with it; what it pushed stays."),
        }}
      />
      <FormModal
        opened={creating}
        onClose={create.close}
        title={t("New user")}
        submit={t("Create")}
        fields={accountFields(t)}
        initial={{}}
        onSubmit={({ again: _, ...body }) => api.create("/users", { body })}
      />
      {known && <Identities user={known} onClose={() => setKnown(null)} />}
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
