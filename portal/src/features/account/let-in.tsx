// Where a user lets a program in: by the code that a device shows, or for a program on this computer.

import { Alert, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { useSearchParams } from "react-router";
import { api } from "../../api/client";
import type { BrowserAnswer, WaitingDevice } from "../../api/types";
import { Card, DateTime, Facts, Page } from "../../components/ui";
import { useErrorText } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { useScopes } from "./tokens";

function useRequest() {
  const text = useErrorText();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError("");
    try {
      await work();
    } catch (problem) {
      setError(text(problem));
    }
    setBusy(false);
  };
  const shown = error && (
    <Alert color="red" role="alert">
      {error}
    </Alert>
  );
  return { busy, run, shown };
}

function Asked(props: { client: string; scopes: string[]; more?: [string, ReactNode][] }) {
  const { t } = useI18n();
  const { user } = useSession();
  const scopes = useScopes();
  const named = props.scopes.map((name) => scopes.find((scope) => scope.value === name)?.label ?? name);
  return (
    <Facts
      items={[
        [t("Program"), props.client],
        ...(props.more ?? []),
        [t("Allows"), named.join(", ")],
        [t("Acts as"), user!.username],
      ]}
    />
  );
}

/** The code that a device shows is typed here: a link with it could be somebody else's. */
export function Device() {
  const { t } = useI18n();
  const { busy, run, shown } = useRequest();
  const [code, setCode] = useState("");
  const [found, setFound] = useState<WaitingDevice | null>(null);
  const [done, setDone] = useState("");
  const decide = (approve: boolean) =>
    run(async () => {
      await api.put("/users/current/logins/device", { body: { user_code: code, approve } });
      setDone(
        approve ? t("The program is signed in. You can close this page.") : t("The program was refused."),
      );
    });
  return (
    <Page title={t("Sign in a program")}>
      <Card>
        <Stack maw={520}>
          {done ? (
            <Alert role="status">{done}</Alert>
          ) : found ? (
            <>
              <Alert color="orange">
                {t(
                  "Continue only if you started this yourself, just now, and the code is on your own device.",
                )}
              </Alert>
              <Asked
                client={found.client}
                scopes={found.scopes}
                more={[
                  [t("Address"), found.address],
                  [t("Asked at"), <DateTime key="at" value={found.creation_time} seconds />],
                ]}
              />
              {shown}
              <Group>
                <Button loading={busy} onClick={() => decide(true)}>
                  {t("Let it in")}
                </Button>
                <Button variant="default" disabled={busy} onClick={() => decide(false)}>
                  {t("Refuse")}
                </Button>
              </Group>
            </>
          ) : (
            <form
              onSubmit={(event) => {
                event.preventDefault();
                run(async () => {
                  setFound(await api.post("/users/current/logins/device", { body: { user_code: code } }));
                });
              }}
            >
              <Stack>
                <TextInput
                  label={t("Code that the program shows")}
                  name="user_code"
                  autoComplete="off"
                  autoCapitalize="characters"
                  autoFocus
                  required
                  withAsterisk={false}
                  maxLength={16}
                  value={code}
                  onChange={(event) => setCode(event.currentTarget.value)}
                />
                {shown}
                <Group>
                  <Button type="submit" loading={busy}>
                    {t("Continue")}
                  </Button>
                </Group>
              </Stack>
            </form>
          )}
        </Stack>
      </Card>
    </Page>
  );
}

/** A program on this computer sent the browser here; only it can use the code that it gets. */
export function Authorize() {
  const { t } = useI18n();
  const [search] = useSearchParams();
  const { busy, run, shown } = useRequest();
  const asked = (name: string) => search.get(name) ?? "";
  const scope = asked("scope") || "push api-read";
  return (
    <Page title={t("Sign in a program")}>
      <Card>
        <Stack maw={520}>
          <Alert color="orange">
            {t("Continue only if you started this yourself, just now, on this computer.")}
          </Alert>
          <Asked client={asked("client_name") || "–"} scopes={scope.split(/\s+/).filter(Boolean)} />
          <Text size="sm" c="dimmed">
            {t("The answer goes to {address}", { address: asked("redirect_uri") })}
          </Text>
          {shown}
          <Group>
            <Button
              loading={busy}
              onClick={() =>
                run(async () => {
                  const answer = await api.post<BrowserAnswer>("/users/current/logins/browser", {
                    body: {
                      redirect_uri: asked("redirect_uri"),
                      code_challenge: asked("code_challenge"),
                      code_challenge_method: asked("code_challenge_method"),
                      state: asked("state"),
                      scope,
                      client_name: asked("client_name"),
                    },
                  });
                  location.assign(answer.redirect_to);
                })
              }
            >
              {t("Let it in")}
            </Button>
          </Group>
        </Stack>
      </Card>
    </Page>
  );
}
