// The second factor of an account that is kept here: enrolled by a first code, switched off by one.

import { Alert, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { ApiError, api } from "../../api/client";
import type { RecoveryCodes, SecondFactorKey, SecondFactor as State } from "../../api/types";
import { Await, Card, Command } from "../../components/ui";
import { useErrorText, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";

const PATH = "/users/current/second-factor";

export function SecondFactor() {
  const { t } = useI18n();
  const text = useErrorText();
  const { refresh } = useSession();
  const state = useGet<State>(PATH);
  const [key, setKey] = useState<SecondFactorKey | null>(null);
  const [recovery, setRecovery] = useState<string[] | null>(null);
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const run = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError("");
    try {
      await work();
      setCode("");
    } catch (problem) {
      const wrong = problem instanceof ApiError && problem.status === 403;
      setError(wrong ? t("The code is wrong or was used.") : text(problem));
    }
    setBusy(false);
  };
  const confirm = () =>
    run(async () => {
      const answer = await api.put<RecoveryCodes>(PATH, { body: { code } });
      setKey(null);
      setRecovery(answer.recovery_codes);
    });
  const remove = () =>
    run(async () => {
      await api.post(`${PATH}/removal`, { body: { code } });
      await state.refetch();
    });
  const entry = (
    <TextInput
      label={t("Code")}
      name="code"
      autoComplete="one-time-code"
      value={code}
      onChange={(event) => setCode(event.currentTarget.value)}
    />
  );
  return (
    <Card title={t("Second factor")}>
      <Stack>
        {error && (
          <Alert color="red" role="alert">
            {error}
          </Alert>
        )}
        {recovery ? (
          <>
            <Alert color="orange">
              {t("Keep these codes. Each signs you in once when you have lost the authenticator.")}
            </Alert>
            <Command value={recovery.join("\n")} />
            <Group>
              <Button onClick={() => refresh()}>{t("Sign in again")}</Button>
            </Group>
          </>
        ) : key ? (
          <>
            <Text size="sm">{t("Give this key to an authenticator, and enter the code that it shows.")}</Text>
            <Command value={key.secret} />
            <Command value={key.uri} />
            {entry}
            <Group>
              <Button loading={busy} disabled={!code} onClick={confirm}>
                {t("Switch on")}
              </Button>
            </Group>
          </>
        ) : (
          <Await query={state}>
            {(found) =>
              found.enabled ? (
                <>
                  <Text size="sm">{t("On. Recovery codes left: {n}", { n: found.recovery_codes ?? 0 })}</Text>
                  {entry}
                  <Group>
                    <Button variant="default" loading={busy} disabled={!code} onClick={remove}>
                      {t("Switch off")}
                    </Button>
                  </Group>
                </>
              ) : (
                <>
                  <Text size="sm" c="dimmed">
                    {t("Off. When it is on, a password alone is not enough; programs then need a token.")}
                  </Text>
                  <Group>
                    <Button
                      loading={busy}
                      onClick={() => run(async () => setKey(await api.post<SecondFactorKey>(PATH)))}
                    >
                      {t("Set up")}
                    </Button>
                  </Group>
                </>
              )
            }
          </Await>
        )}
      </Stack>
    </Card>
  );
}
