// The system's configuration: how people sign in, mail-less system settings, and security defaults.

import { Button, Group, Stack, Tabs } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { api } from "../../api/client";
import type { Configurations } from "../../api/types";
import { type Field, Fields, useForm, type Values } from "../../components/dialogs";
import { Await, Card, Page } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { Allowlist } from "../scanning/allowlist";
import { authentication, type ConfigField, system } from "./fields";
import { Sources } from "./sources";

export function Configuration() {
  const { t } = useI18n();
  const { tab: asked = "setting" } = useParams();
  const tab = ["auth", "sources", "setting", "security"].includes(asked) ? asked : "setting";
  const navigate = useNavigate();
  const query = useGet<Configurations>("/configurations");
  return (
    <Page title={t("Configuration")}>
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/configs/${next}`)}>
        <Tabs.List mb="md">
          <Tabs.Tab value="auth">{t("Authentication")}</Tabs.Tab>
          <Tabs.Tab value="sources">{t("Identity sources")}</Tabs.Tab>
          <Tabs.Tab value="setting">{t("System settings")}</Tabs.Tab>
          <Tabs.Tab value="security">{t("Security")}</Tabs.Tab>
        </Tabs.List>
        <Await query={query}>
          {(values) => (
            <>
              <Tabs.Panel value="auth">
                <Form stored={values} fields={authentication(t)} auth />
              </Tabs.Panel>
              <Tabs.Panel value="sources">
                <Sources />
              </Tabs.Panel>
              <Tabs.Panel value="security">
                <Allowlist />
              </Tabs.Panel>
              <Tabs.Panel value="setting">
                <Form stored={values} fields={system(t)} />
              </Tabs.Panel>
            </>
          )}
        </Await>
      </Tabs>
    </Page>
  );
}

function Form({ stored, fields, auth }: { stored: Configurations; fields: ConfigField[]; auth?: boolean }) {
  const { t } = useI18n();
  const item = (field: ConfigField) => field.item ?? field.name;
  // An item that the API does not list is none that this server knows, secrets excepted: those it never tells.
  const known = fields
    .filter((field) => field.type === "password" || stored[item(field)] !== undefined)
    .map((field) => ({ ...field, disabled: stored[item(field)]?.editable === false }));
  const initial: Values = Object.fromEntries(
    known.map((field) => [item(field), shown(field, stored[item(field)]?.value)]),
  );
  // As it was when the form was opened or saved: what others change meanwhile is not written back.
  const [first, setFirst] = useState(initial);
  const form = useForm(known, first);
  const save = useAction(async () => {
    const body: Values = {};
    for (const field of known) {
      const name = item(field);
      const value = form.values[name];
      if (value === first[name] || field.disabled || (field.type === "password" && !value)) continue;
      body[name] = typeof stored[name]?.value === "number" ? Number(value) : (value ?? "");
    }
    if (Object.keys(body).length) await api.put("/configurations", { body });
    setFirst(form.values);
  }, "Saved");
  const test = useAction(
    async () => {
      const { values } = form;
      if (values.auth_mode === "ldap_auth") {
        const result = await api.post<{ success: boolean; message?: string }>("/ldap/ping", {
          body: {
            ldap_url: values.ldap_url,
            ldap_search_dn: values.ldap_search_dn,
            ...(values.ldap_search_password ? { ldap_search_password: values.ldap_search_password } : {}),
            ldap_base_dn: values.ldap_base_dn,
            ldap_filter: values.ldap_filter,
            ldap_uid: values.ldap_uid,
            ldap_scope: Number(values.ldap_scope),
            ldap_verify_cert: !!values.ldap_verify_cert,
          },
        });
        if (!result.success) throw new Error(result.message || t("The server does not answer."));
      } else {
        await api.post("/system/oidc/ping", {
          body: { url: values.oidc_endpoint, verify_cert: !!values.oidc_verify_cert },
        });
      }
      notifications.show({ message: t("The connection works."), color: "teal" });
    },
    undefined,
    "The connection failed",
  );
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (form.validate()) save.mutate();
      }}
    >
      <Card>
        <Stack maw={640}>
          <Fields fields={known} form={form} />
          <Group>
            <Button type="submit" loading={save.isPending}>
              {t("Save")}
            </Button>
            {auth && form.values.auth_mode !== "db_auth" && (
              <Button variant="default" loading={test.isPending} onClick={() => test.mutate()}>
                {t("Test connection")}
              </Button>
            )}
          </Group>
        </Stack>
      </Card>
    </form>
  );
}

const shown = (field: Field, value: unknown) =>
  field.type === "select" && !field.get && value !== undefined ? String(value) : value;
