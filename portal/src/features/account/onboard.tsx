// The first sign-in through the provider: the new user says what it wants to be called here.

import { Alert, Anchor, Box, Button, Stack, Text, TextInput, Title } from "@mantine/core";
import { useEffect, useState } from "react";
import { Link, Navigate, useNavigate, useSearchParams } from "react-router";
import { ApiError, onboard } from "../../api/client";
import { useErrorText } from "../../hooks";
import { useT } from "../../i18n";
import { localPath } from "../../lib/format";
import { useSession } from "../../session";

export function Onboard() {
  const t = useT();
  const text = useErrorText();
  const navigate = useNavigate();
  const { user, info, refresh } = useSession();
  const [search] = useSearchParams();
  const [name, setName] = useState(search.get("username") ?? "");
  const [error, setError] = useState<string | null>(null);
  const [late, setLate] = useState(false);
  const [busy, setBusy] = useState(false);
  const target = localPath(search.get("redirect_url"));

  useEffect(() => {
    document.title = `${t("Choose your user name")} · Seawall`;
  }, [t]);

  if (user) return <Navigate to={target} replace />;
  return (
    <main className="sign-in">
      <Box className="sign-in-card">
        <Title order={1} size="h3" mb="xs">
          {t("Choose your user name")}
        </Title>
        <Text size="sm" c="dimmed" mb="lg">
          {t("{provider} knows you; this registry does not yet. The name cannot be changed later.", {
            provider: info.oidc_provider_name || "OIDC",
          })}
        </Text>
        <form
          onSubmit={async (event) => {
            event.preventDefault();
            setBusy(true);
            setError(null);
            try {
              await onboard(name.trim());
              await refresh();
              navigate(target, { replace: true });
            } catch (problem) {
              const status = problem instanceof ApiError ? problem.status : 0;
              setLate(status === 403);
              setError(
                status === 409
                  ? t("The name is taken. Choose another one.")
                  : status === 403
                    ? t("This took too long, or was not begun in this browser.")
                    : text(problem),
              );
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
              maxLength={255}
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
            />
            {error && (
              <Alert color="red" role="alert">
                {error}
              </Alert>
            )}
            <Button type="submit" loading={busy} disabled={late} mt={4}>
              {t("Create account")}
            </Button>
          </Stack>
        </form>
        <Anchor component={Link} to="/account/sign-in" size="sm" mt="md" display="block">
          {t("Back to the sign-in page")}
        </Anchor>
      </Box>
    </main>
  );
}
