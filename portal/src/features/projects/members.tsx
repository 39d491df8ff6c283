import { Button, Select } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { User, Users } from "lucide-react";
import { api } from "../../api/client";
import type { Member } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Empty } from "../../components/ui";
import { useAction, useList } from "../../hooks";
import { useI18n } from "../../i18n";
import { useFilter } from "../../lib/address";
import { useSession } from "../../session";
import { ROLES, roleName } from "./roles";
import type { ProjectTab } from "./tab";

const ONE = "/projects/{project_name_or_id}/members/{mid}";

export function Members({ project, can }: ProjectTab) {
  const { t } = useI18n();
  const { user, info } = useSession();
  const [name, setName] = useFilter("name");
  const [adding, add] = useDisclosure(false);
  const [addingGroup, addGroup] = useDisclosure(false);
  const path = { project_name_or_id: project.project_id };
  const list = useList<Member>("/projects/{project_name_or_id}/members", {
    path,
    query: { entityname: name },
    address: "",
  });
  const change = useAction(
    ({ member, role }: { member: Member; role: number }) =>
      api.put(ONE, { path: { ...path, mid: member.id }, body: { role_id: role } }),
    "Role changed",
  );
  const roles = ROLES.map((role) => ({ value: String(role), label: roleName(t, role) }));
  const mayUpdate = can("member", "update");
  const groupType = info.auth_mode === "ldap_auth" ? 1 : info.oidc_sources?.length ? 3 : 0;
  return (
    <>
      <ResourceTable<Member>
        name={(row) => row.entity_name}
        search={{ value: name, onChange: setName }}
        buttons={
          can("member", "create") && (
            <>
              {groupType > 0 && (
                <Button
                  variant="default"
                  leftSection={<Users size={16} aria-hidden />}
                  onClick={addGroup.open}
                >
                  {t("Add group")}
                </Button>
              )}
              <Button leftSection={<User size={16} aria-hidden />} onClick={add.open}>
                {t("Add member")}
              </Button>
            </>
          )
        }
        selectable={can("member", "delete")}
        label={t("Members")}
        list={list}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No member matches")} />}
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.entity_name}</b> },
          { title: t("Kind"), cell: (row) => (row.entity_type === "g" ? t("Group") : t("User")) },
          {
            title: t("Role"),
            cell: (row) =>
              mayUpdate && row.entity_id !== user?.user_id ? (
                <Select
                  size="xs"
                  w={170}
                  allowDeselect={false}
                  aria-label={t("Role of {name}", { name: row.entity_name })}
                  data={roles}
                  value={String(row.role_id)}
                  onChange={(role) => role && change.mutate({ member: row, role: Number(role) })}
                />
              ) : (
                roleName(t, row.role_id)
              ),
          },
        ]}
        remove={
          can("member", "delete") && {
            may: (row) => row.entity_id !== user?.user_id || row.entity_type === "g",
            run: (row) => api.delete(ONE, { path: { ...path, mid: row.id } }),
            word: t("Remove"),
            title: (row) => t("Remove {name} from the project?", { name: row.entity_name }),
            consequence: t("The account itself stays."),
          }
        }
      />
      <FormModal
        opened={adding}
        onClose={add.close}
        title={t("Add member")}
        submit={t("Add")}
        initial={{ role: "2" }}
        fields={[
          {
            name: "username",
            label: t("User name"),
            required: true,
            type: "suggest",
            suggest: async (username) =>
              (await api.get<{ username?: string }[]>("/users/search", { query: { username } })).map(
                (item) => item.username ?? "",
              ),
          },
          { name: "role", label: t("Role"), type: "select", options: roles },
        ]}
        onSubmit={(values) =>
          api.create("/projects/{project_name_or_id}/members", {
            path,
            body: { role_id: Number(values.role), member_user: { username: values.username.trim() } },
          })
        }
      />
      <FormModal
        opened={addingGroup}
        onClose={addGroup.close}
        title={t("Add group")}
        submit={t("Add")}
        initial={{ role: "2" }}
        fields={[
          groupType === 1
            ? { name: "dn", label: t("LDAP group DN"), required: true }
            : { name: "group", label: t("Group name"), required: true },
          { name: "role", label: t("Role"), type: "select", options: roles },
        ]}
        onSubmit={(values) =>
          api.create("/projects/{project_name_or_id}/members", {
            path,
            body: {
              role_id: Number(values.role),
              member_group: {
                group_name: values.group,
                ldap_group_dn: values.dn,
                group_type: groupType,
              },
            },
          })
        }
      />
    </>
  );
}
