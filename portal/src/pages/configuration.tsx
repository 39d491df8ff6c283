// The system's configuration: how people sign in, mail-less system settings, and security defaults.
import { Button, Group, Stack, Tabs } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import type { Configurations } from "../api/types";
import { type Field, Fields, useForm, type Values } from "../components/dialogs";
import { Await, Card, Page } from "../components/ui";
import { useAction, useGet } from "../hooks";
import { type Translate, useI18n } from "../i18n";

export function Configuration() {
  const { t } = useI18n();
  const { tab = "setting" } = useParams();
  const navigate = useNavigate();
  const query = useGet<Configurations>("/configurations");
  return (
    <Page title={t("Configuration")}>
      <Tabs value={tab} keepMounted={false} onChange={(next) => navigate(`/harbor/configs/${next}`)}>
        <Tabs.List mb="md">
          <Tabs.Tab value="auth">{t("Authentication")}</Tabs.Tab>
          <Tabs.Tab value="setting">{t("System settings")}</Tabs.Tab>
        </Tabs.List>
        <Await query={query}>
          {(values) => (
            <>
              <Tabs.Panel value="auth">
                <Form key={JSON.stringify(values)} stored={values} fields={authentication(t)} auth />
              </Tabs.Panel>
              <Tabs.Panel value="setting">
                <Form key={JSON.stringify(values)} stored={values} fields={system(t)} />
              </Tabs.Panel>
            </>
          )}
        </Await>
      </Tabs>
    </Page>
  );
}

const is = (mode: string) => (values: Values) => values.auth_mode !== mode;

function authentication(t: Translate): Field[] {
  const ldap = is("ldap_auth");
  const oidc = is("oidc_auth");
  return [
    {
      name: "auth_mode",
      label: t("How people sign in"),
      type: "select",
      help: t("Can be changed while there is no account but the administrator's."),
      options: [
        { value: "db_auth", label: t("Local accounts") },
        { value: "ldap_auth", label: "LDAP" },
        { value: "oidc_auth", label: "OIDC" },
      ],
    },
    {
      name: "self_registration",
      label: t("Anyone may create an account"),
      type: "switch",
      hidden: is("db_auth"),
    },
    {
      name: "ldap_url",
      label: t("LDAP address"),
      required: true,
      placeholder: "ldaps://ldap.example.com",
      hidden: ldap,
    },
    { name: "ldap_search_dn", label: t("Search DN"), hidden: ldap },
    {
      name: "ldap_search_password",
      label: t("Search password"),
      type: "password",
      help: t("Empty: the stored one stays."),
      hidden: ldap,
    },
    { name: "ldap_base_dn", label: t("Base DN"), required: true, hidden: ldap },
    { name: "ldap_filter", label: t("Filter"), hidden: ldap },
    { name: "ldap_uid", label: t("User attribute"), required: true, hidden: ldap },
    { name: "ldap_scope", label: t("Scope"), type: "select", options: scopes(t), hidden: ldap },
    { name: "ldap_group_base_dn", label: t("Group base DN"), hidden: ldap },
    { name: "ldap_group_search_filter", label: t("Group filter"), hidden: ldap },
    { name: "ldap_group_attribute_name", label: t("Group name attribute"), hidden: ldap },
    { name: "ldap_group_admin_dn", label: t("Group of administrators (DN)"), hidden: ldap },
    { name: "ldap_group_membership_attribute", label: t("Membership attribute"), hidden: ldap },
    {
      name: "ldap_group_search_scope",
      label: t("Group scope"),
      type: "select",
      options: scopes(t),
      hidden: ldap,
    },
    { name: "ldap_verify_cert", label: t("Verify the certificate"), type: "switch", hidden: ldap },
    { name: "oidc_name", label: t("Provider name"), required: true, hidden: oidc },
    {
      name: "oidc_endpoint",
      label: t("Issuer address"),
      required: true,
      placeholder: "https://id.example.com",
      hidden: oidc,
    },
    { name: "oidc_client_id", label: t("Client ID"), required: true, hidden: oidc },
    {
      name: "oidc_client_secret",
      label: t("Client secret"),
      type: "password",
      help: t("Empty: the stored one stays."),
      hidden: oidc,
    },
    {
      name: "oidc_scope",
      label: t("Scopes"),
      required: true,
      help: "openid,profile,email,offline_access",
      hidden: oidc,
    },
    { name: "oidc_user_claim", label: t("User name claim"), hidden: oidc },
    { name: "oidc_groups_claim", label: t("Groups claim"), hidden: oidc },
    { name: "oidc_admin_group", label: t("Group of administrators"), hidden: oidc },
    { name: "oidc_group_filter", label: t("Group filter"), hidden: oidc },
    { name: "oidc_verify_cert", label: t("Verify the certificate"), type: "switch", hidden: oidc },
    {
      name: "oidc_auto_onboard",
      label: t("Create accounts at the first login"),
      type: "switch",
      hidden: oidc,
    },
    { name: "oidc_logout", label: t("Sign out of the provider too"), type: "switch", hidden: oidc },
    {
      name: "primary_auth_mode",
      label: t("Send people to the provider at once"),
      type: "switch",
      hidden: oidc,
    },
  ];
}

const scopes = (t: Translate) => [
  { value: "0", label: t("Base only") },
  { value: "1", label: t("One level") },
  { value: "2", label: t("Whole subtree") },
];

function system(t: Translate): Field[] {
  return [
    {
      name: "project_creation_restriction",
      label: t("Who may create projects"),
      type: "select",
      options: [
        { value: "everyone", label: t("Everyone") },
        { value: "adminonly", label: t("Administrators only") },
      ],
    },
    {
      name: "read_only",
      label: t("Read-only registry"),
      type: "switch",
      help: t("Refuses pushes and deletes; pulls go on."),
    },
    { name: "notification_enable", label: t("Webhooks"), type: "switch" },
    { name: "quota_per_project_enable", label: t("Enforce project quotas"), type: "switch" },
    { name: "token_expiration", label: t("Minutes a registry token lives"), type: "number", min: 1 },
    { name: "session_timeout", label: t("Minutes a portal session lives"), type: "number", min: 1 },
    {
      name: "robot_token_duration",
      label: t("Days a robot account lives by default"),
      type: "number",
      min: -1,
    },
    { name: "robot_name_prefix", label: t("Prefix of robot accounts"), required: true },
    {
      name: "audit_log_forward_endpoint",
      label: t("Forward the audit log to (syslog)"),
      placeholder: "syslog.example.com:514",
    },
    {
      name: "skip_audit_log_database",
      label: t("Do not keep the audit log here"),
      type: "switch",
      hidden: (values) => !values.audit_log_forward_endpoint,
    },
    { name: "scanner_skip_update_pulltime", label: t("Scans do not count as pulls"), type: "switch" },
    {
      name: "banner_message",
      label: t("Banner message"),
      type: "textarea",
      help: t("Shown to everyone at the top of each page."),
    },
  ];
}

function Form({ stored, fields, auth }: { stored: Configurations; fields: Field[]; auth?: boolean }) {
  const { t } = useI18n();
  // An item that the API does not list is none that this server knows, secrets excepted: those it never tells.
  const known = fields
    .filter((field) => field.type === "password" || stored[field.name] !== undefined)
    .map((field) => ({ ...field, disabled: stored[field.name]?.editable === false }));
  const initial: Values = Object.fromEntries(known.map((field) => [field.name, shown(field, stored)]));
  const form = useForm(known, initial);
  const changed = () => {
    const body: Values = {};
    for (const field of known) {
      const value = form.values[field.name];
      if (value === initial[field.name] || field.disabled || (field.type === "password" && !value)) continue;
      const old = stored[field.name]?.value;
      body[field.name] = typeof old === "number" ? Number(value) : (value ?? "");
      if (field.name === "banner_message") body[field.name] = banner(String(value ?? ""));
    }
    return body;
  };
  const save = useAction(async () => {
    const body = changed();
    if (Object.keys(body).length) await api.put("/configurations", { body });
  }, "Saved");
  const test = useAction(async () => {
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
  });
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

function shown(field: Field, stored: Configurations): unknown {
  const value = stored[field.name]?.value;
  if (field.name === "banner_message" && typeof value === "string") {
    try {
      return JSON.parse(value).message ?? "";
    } catch {
      return value;
    }
  }
  return field.type === "select" && value !== undefined ? String(value) : value;
}

const banner = (message: string) =>
  message.trim() ? JSON.stringify({ message: message.trim(), type: "info", closable: true }) : "";
