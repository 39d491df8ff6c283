import type { Field, Values } from "../../components/dialogs";
import type { Translate } from "../../i18n";

/** A field of the item `item` of the configuration, where that is not the field's own name. */
export type ConfigField = Field & { item?: string };

// The banner is one item: JSON text with the message and how it is shown, as Harbor has it.
function parsed(text: unknown): Values {
  if (typeof text !== "string" || !text) return {};
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : { message: text };
  } catch {
    return { message: text };
  }
}
const banner = (key: string): Pick<Field, "get" | "put"> => ({
  get: (values) => {
    const value = parsed(values.banner_message)[key];
    // Harbor writes dates as 12/31/2026; a date field wants 2026-12-31.
    const day = /^(\d\d)\/(\d\d)\/(\d{4})$/.exec(String(value ?? ""));
    return day ? `${day[3]}-${day[1]}-${day[2]}` : value;
  },
  put: (values, value: unknown) => {
    const standard = { type: "info", closable: true };
    const text =
      typeof value === "string" && key.endsWith("Date")
        ? value.replace(/^(\d{4})-(\d\d)-(\d\d)$/, "$2/$3/$1")
        : value;
    const next: Values = { ...standard, ...parsed(values.banner_message), [key]: text };
    return { ...values, banner_message: String(next.message ?? "").trim() ? JSON.stringify(next) : "" };
  },
});
const noBanner = (values: Values) => !parsed(values.banner_message).message;

const is = (mode: string) => (values: Values) => values.auth_mode !== mode;

export function authentication(t: Translate): ConfigField[] {
  const ldap = is("ldap_auth");
  const oidc = is("oidc_auth");
  return [
    {
      name: "auth_mode",
      label: t("How people sign in"),
      type: "select",
      help: t("Can be changed while the administrator's account is the only one."),
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

export function system(t: Translate): ConfigField[] {
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
    {
      name: "personal_token_max_days",
      label: t("Days a personal access token lives at most"),
      type: "number",
      min: 1,
    },
    { name: "second_factor_required", label: t("Require a second factor of local users"), type: "switch" },
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
      name: "banner_text",
      item: "banner_message",
      label: t("Banner message"),
      type: "textarea",
      help: t("Shown to everyone at the top of each page."),
      ...banner("message"),
    },
    {
      name: "banner_type",
      item: "banner_message",
      label: t("Banner type"),
      type: "select",
      hidden: noBanner,
      options: [
        { value: "info", label: t("Information") },
        { value: "success", label: t("Success") },
        { value: "warning", label: t("Warning") },
        { value: "danger", label: t("Danger") },
      ],
      ...banner("type"),
    },
    {
      name: "banner_closable",
      item: "banner_message",
      label: t("People may close the banner"),
      type: "switch",
      hidden: noBanner,
      ...banner("closable"),
    },
    {
      name: "banner_from",
      item: "banner_message",
      label: t("Show the banner from"),
      type: "date",
      hidden: noBanner,
      ...banner("fromDate"),
    },
    {
      name: "banner_to",
      item: "banner_message",
      label: t("Show the banner until"),
      type: "date",
      hidden: noBanner,
      ...banner("toDate"),
    },
  ];
}
