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
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { Link, Navigate, useSearchParams } from "react-router";
import { ApiError, login, providerLogin } from "../../api/client";
import { LanguageSelect, SchemeButton } from "../../components/looks";
import { useErrorText } from "../../hooks";
import { type Text as Key, useT } from "../../i18n";
import { localPath } from "../../lib/format";
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
  const { user, ended, refresh } = useSession();
  const [search] = useSearchParams();
  useEffect(() => {
    document.title = `${t("Sign in")} · Seawall`;
  }, [t]);
  const target = localPath(search.get("redirect_url"));
  if (user && !ended) return <Navigate to={target} replace />;
  return (
    <main className="sign-in">
      <Card target={target} failed={FAILED[search.get("oidc") ?? ""]} onDone={refresh} />
    </main>
  );
}

/**
 * The sign-in over a page whose session has ended. The page stays as it is behind it, forms filled in half
 * included, and goes on when the same person is back.
 */
export function SignInAgain() {
  const t = useT();
  const { user, check } = useSession();
  const dialog = useRef<HTMLDialogElement>(null);
  const here = location.pathname + location.search;
  useEffect(() => {
    const shown = dialog.current;
    const title = document.title;
    document.title = `${t("Sign in")} · Seawall`;
    // Modal: the page behind takes neither focus nor clicks, and no dialog of its own lies above.
    if (shown && !shown.open) shown.showModal();
    return () => {
      document.title = title;
      shown?.close();
    };
  }, [t]);
  return (
    <dialog
      ref={dialog}
      className="sign-in"
      aria-label={t("Sign in")}
      onCancel={(event) => event.preventDefault()}
    >
      <Card
        target={here}
        again={user?.username}
        onDone={check}
        notice={t("Your session has ended. Sign in again to go on where you were.")}
      />
    </dialog>
  );
}

function Card(props: {
  target: string;
  failed?: Key;
  notice?: string;
  /** Who was signed in; the page behind waits for this person. */
  again?: string;
  onDone: () => Promise<unknown>;
}) {
  const t = useT();
  const text = useErrorText();
  const { info } = useSession();
  const { target, failed, notice, again } = props;
  const [principal, setPrincipal] = useState(again ?? "");
  const [password, setPassword] = useState("");
  // Of the second factor; null until the server asks for it.
  const [code, setCode] = useState<string | null>(null);
  // What the server says, in the address, when the way through the provider ended early.
  const [error, setError] = useState<string | null>(failed ? t(failed) : null);
  const [busy, setBusy] = useState(false);
  const [registering, register] = useDisclosure(false);
  const providers = info.oidc_sources ?? [];
  const oidc = providers.length > 0;
  const directories = info.directories ?? [];
  return (
    <>
      <Group className="sign-in-tools" gap={4}>
        {!again && <LanguageSelect />}
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
        {notice && (
          <Alert color="orange" role="alert" mb="md">
            {notice}
          </Alert>
        )}
        {oidc && (
          <>
            {failed && error && (
              <Alert color="red" role="alert" mb="md">
                {error}
              </Alert>
            )}
            <Stack gap="xs">
              {providers.map((provider) => (
                <Button
                  key={provider.name ?? ""}
                  component="a"
                  href={providerLogin(target, provider.name)}
                  // In a tab of its own when a page waits here: leaving would lose what was filled in.
                  target={again ? "_blank" : undefined}
                  fullWidth
                  leftSection={<KeyRound size={16} aria-hidden />}
                >
                  {t("Sign in with {provider}", { provider: provider.title })}
                </Button>
              ))}
            </Stack>
            <Divider
              my="md"
              label={directories.length ? t("or with a password") : t("or with a local account")}
            />
          </>
        )}
        <form
          onSubmit={async (event) => {
            event.preventDefault();
            setBusy(true);
            setError(null);
            try {
              await login(principal, password, code ?? "");
              await props.onDone();
            } catch (problem) {
              const refused = problem instanceof ApiError && problem.status === 401;
              const factor = refused && /^second factor/.test(problem.message);
              if (factor) setCode("");
              if (factor && code === null) setError(null);
              else if (factor) setError(t("The code is wrong or was used."));
              else setError(refused ? t("Wrong user name or password.") : text(problem));
              setBusy(false);
            }
          }}
        >
          <Stack gap="sm">
            {directories.length > 0 && (
              <Text size="sm" c="dimmed">
                {t("With a password of {directories}, or of a local account.", {
                  directories: directories.join(", "),
                })}
              </Text>
            )}
            <TextInput
              label={t("User name")}
              name="username"
              autoComplete="username"
              autoFocus={!again}
              required
              withAsterisk={false}
              value={principal}
              onChange={(event) => setPrincipal(event.currentTarget.value)}
            />
            <PasswordInput
              label={t("Password")}
              name="password"
              autoComplete="current-password"
              autoFocus={!!again}
              required
              withAsterisk={false}
              value={password}
              onChange={(event) => setPassword(event.currentTarget.value)}
            />
            {code !== null && (
              <TextInput
                label={t("Code of the second factor")}
                description={t("Of your authenticator, or a recovery code.")}
                name="code"
                autoComplete="one-time-code"
                autoFocus
                required
                withAsterisk={false}
                value={code}
                onChange={(event) => setCode(event.currentTarget.value)}
              />
            )}
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
        {!again && (
          <Group justify="space-between" mt="md">
            <Anchor component={Link} to="/harbor/projects" size="sm">
              {t("Browse public projects")}
            </Anchor>
            {info.self_registration && info.auth_mode !== "oidc_auth" && (
              <Anchor component="button" size="sm" onClick={register.open}>
                {t("Create an account")}
              </Anchor>
            )}
          </Group>
        )}
      </Box>
      {registering && (
        <Suspense fallback={null}>
          <Register onClose={register.close} />
        </Suspense>
      )}
    </>
  );
}
