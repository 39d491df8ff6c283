import type { Field } from "../../components/dialogs";
import type { Translate } from "../../i18n";

export function accountFields(t: Translate): Field[] {
  return [
    { name: "username", label: t("User name"), required: true, autoComplete: "username" },
    {
      name: "email",
      label: t("Email"),
      required: true,
      check: (value: string) => !/^[^@\s]+@[^@\s]+$/.test(value) && t("Not an email address"),
    },
    { name: "realname", label: t("Full name"), required: true },
    ...passwordFields(t),
    { name: "comment", label: t("Comment") },
  ];
}

export function passwordFields(t: Translate, name = "password"): Field[] {
  return [
    {
      name,
      label: t("Password"),
      type: "password",
      required: true,
      help: t("8 to 128 characters, with an upper-case letter, a lower-case letter and a digit."),
      check: (value: string) =>
        !(
          value.length >= 8 &&
          value.length <= 128 &&
          /[A-Z]/.test(value) &&
          /[a-z]/.test(value) &&
          /\d/.test(value)
        ) && t("Too simple"),
    },
    {
      name: "again",
      label: t("Password again"),
      type: "password",
      required: true,
      check: (value: string, values) => value !== values[name] && t("The two differ"),
    },
  ];
}
