import {
  Alert,
  Anchor,
  Box,
  Button,
  Divider,
  Group,
  PasswordInput,
  Stack,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { KeyRound } from "lucide-react";
import { lazy, Suspense, useEffect, useState } from "react";
import { Link, Navigate, useSearchParams } from "react-router";
import { ApiError, login, providerLogin } from "../../api/client";
import { LanguageMenu, SchemeButton } from "../../components/shell";
import { localPath } from "../../format";
import { useErrorText } from "../../hooks";
import { type Text as Key, useT } from "../../i18n";
import { useSession } from "../../session";

// Forms are a large part of the code, and few people need this one.
const Register = lazy(() => import("./register").then((module) => ({ default: module.Register })));

const FAILED: Record<string, Key | undefined> = {
  provider: "The identity provider cannot be reached, or its answer is not valid. Try again later.",
  refused: "The identity provider did not let you in.",
  again: "The sign-in was not begun in this browser, or too long ago. Please try again.",
};

export function SignIn() {
  const t = useT();
  const text = useErrorText();
  const { user, info, refresh } = useSession();
  const [search] = useSearchParams();
  const [principal, setPrincipal] = useState("");
  const [password, setPassword] = useState("");
  // What the server says, in the address, when the way through the provider ended early.
  const failed = FAILED[search.get("oidc") ?? ""];
  const [error, setError] = useState<string | null>(failed ? t(failed) : null);
  const [busy, setBusy] = useState(false);
  const [registering, register] = useDisclosure(false);

  useEffect(() => {
    document.title = `${t("Sign in")} · Seawall`;
  }, [t]);

  const target = localPath(search.get("redirect_url"));
  if (user) return <Navigate to={target} replace />;

  const oidc = info.auth_mode === "oidc_auth";
  const provider = info.oidc_provider_name || "OIDC";
  return (
    <main className="sign-in">
      <Group className="sign-in-tools" gap={4}>
        <LanguageMenu color="gray" />
        <SchemeButton color="gray" />
      </Group>
      <Box className="sign-in-card">
        <Group gap="sm" mb="lg">
          <img src="/portal/logo.svg" alt="" width={40} height={40} />
          <div>
            <Title order={1} size="h3">
              Seawall
            </Title>
            <Text size="sm" c="dimmed">
              {t("Artifact registry")}
            </Text>
          </div>
        </Group>
        {oidc && (
          <>
            {failed && error && (
              <Alert color="red" role="alert" mb="md">
                {error}
              </Alert>
            )}
            <Button
              component="a"
              href={providerLogin(target)}
              fullWidth
              leftSection={<KeyRound size={16} aria-hidden />}
            >
              {t("Sign in with {provider}", { provider })}
            </Button>
            <Divider my="md" label={t("or with a local account")} />
          </>
        )}
        <form
          onSubmit={async (event) => {
            event.preventDefault();
            setBusy(true);
            setError(null);
            try {
              await login(principal, password);
              await refresh();
            } catch (problem) {
              const refused = problem instanceof ApiError && problem.status === 401;
              setError(refused ? t("Wrong user name or password.") : text(problem));
              setBusy(false);
            }
          }}
        >
          <Stack gap="sm">
            <TextInput
              label={t("User name")}
              name="username"
              autoComplete="username"
              autoFocus
              required
              withAsterisk={false}
              value={principal}
              onChange={(event) => setPrincipal(event.currentTarget.value)}
            />
            <PasswordInput
              label={t("Password")}
              name="password"
              autoComplete="current-password"
              required
              withAsterisk={false}
              value={password}
              onChange={(event) => setPassword(event.currentTarget.value)}
            />
            {error && !(oidc && failed) && (
              <Alert color="red" role="alert">
                {error}
              </Alert>
            )}
            <Button type="submit" loading={busy} variant={oidc ? "default" : "filled"} mt={4}>
              {t("Sign in")}
            </Button>
          </Stack>
        </form>
        <Group justify="space-between" mt="md">
          <Anchor component={Link} to="/harbor/projects" size="sm">
            {t("Browse public projects")}
          </Anchor>
          {info.self_registration && !oidc && (
            <Anchor component="button" size="sm" onClick={register.open}>
              {t("Create an account")}
            </Anchor>
          )}
        </Group>
      </Box>
      {registering && (
        <Suspense fallback={null}>
          <Register onClose={register.close} />
        </Suspense>
      )}
    </main>
  );
}
