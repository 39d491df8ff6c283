// The account of who is signed in: details, password, and the secret for command lines with OIDC.

import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import { useConfirm } from "../../components/confirm";
import { type Field, Fields, useForm } from "../../components/dialogs";
import { Card, Copyable, Page } from "../../components/ui";
import { useAction, useErrorText } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { passwordFields } from "./fields";
import { SecondFactor } from "./second-factor";
import { Tokens } from "./tokens";

export function Profile() {
  const { t } = useI18n();
  const { user, info } = useSession();
  const local = !info.auth_mode || info.auth_mode === "db_auth" || user!.user_id === 1;
  return (
    <Page title={t("Profile")} description={user!.username}>
      <div className="grid wide">
        <Details local={local} />
        {local && <Password />}
        {local && <SecondFactor />}
        {user!.oidc_user_meta && <CliSecret />}
      </div>
      <Tokens />
    </Page>
  );
}

function Details({ local }: { local: boolean }) {
  const { t } = useI18n();
  const { user } = useSession();
  const fields: Field[] = [
    {
      name: "email",
      label: t("Email"),
      required: true,
      disabled: !local,
      check: (value: string) => !/^[^@\s]+@[^@\s]+$/.test(value) && t("Not an email address"),
    },
    { name: "realname", label: t("Full name"), required: true, disabled: !local },
    { name: "comment", label: t("Comment"), disabled: !local },
  ];
  const stored = { email: user!.email, realname: user!.realname, comment: user!.comment };
  const form = useForm(fields, stored);
  const save = useAction(async () => {
    await api.put("/users/{user_id}", { path: { user_id: user!.user_id }, body: form.values });
  }, "Saved");
  return (
    <Card title={t("Account")}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (form.validate()) save.mutate();
        }}
      >
        <Stack>
          <Fields fields={fields} form={form} />
          {local ? (
            <Group>
              <Button type="submit" loading={save.isPending}>
                {t("Save")}
              </Button>
            </Group>
          ) : (
            <Text size="sm" c="dimmed">
              {t("The account is kept by the identity provider.")}
            </Text>
          )}
        </Stack>
      </form>
    </Card>
  );
}

function Password() {
  const { t } = useI18n();
  const text = useErrorText();
  const { user } = useSession();
  const [error, setError] = useState("");
  const fields: Field[] = [
    {
      name: "old_password",
      label: t("Current password"),
      type: "password",
      required: true,
      autoComplete: "current-password",
    },
    ...passwordFields(t, "new_password"),
  ];
  const form = useForm(fields, {});
  const save = useAction(async () => {
    const { old_password, new_password } = form.values;
    await api.put("/users/{user_id}/password", {
      path: { user_id: user!.user_id },
      body: { old_password, new_password },
    });
    form.setValues({});
    setError("");
  }, "Password changed");
  return (
    <Card title={t("Password")}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (form.validate()) save.mutate(undefined, { onError: (problem) => setError(text(problem)) });
        }}
      >
        <Stack>
          <Fields fields={fields} form={form} />
          {error && (
            <Alert color="red" role="alert">
              {error}
            </Alert>
          )}
          <Group>
            <Button type="submit" loading={save.isPending}>
              {t("Change password")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}

function CliSecret() {
  const { t } = useI18n();
  const { user } = useSession();
  const confirm = useConfirm();
  const [seen, show] = useState(false);
  const secret = user!.oidc_user_meta?.secret ?? "";
  const renew = useAction(async () => {
    await api.put("/users/{user_id}/cli_secret", { path: { user_id: user!.user_id }, body: { secret: "" } });
  }, "Saved");
  return (
    <Card title={t("CLI secret")}>
      <Stack align="flex-start">
        <Text size="sm" c="dimmed">
          {t("Use it as the password of docker login, podman login and the like.")}
        </Text>
        <Copyable value={secret}>
          <code data-testid="cli-secret">{seen ? secret : "••••••••••••••••"}</code>
        </Copyable>
        <Group gap="xs">
          <Button size="xs" variant="default" aria-pressed={seen} onClick={() => show(!seen)}>
            {seen ? t("Hide secret") : t("Show secret")}
          </Button>
          <Button
            size="xs"
            variant="default"
            loading={renew.isPending}
            onClick={async () => {
              const yes = await confirm({
                title: t("New secret for {name}?", { name: user!.username }),
                body: t("The old secret stops working at once."),
                confirm: t("New secret"),
              });
              if (yes) renew.mutate();
            }}
          >
            {t("New secret")}
          </Button>
        </Group>
      </Stack>
    </Card>
  );
}
