// As whom sources of identity know a user, and links to them.

import { Alert, Button, Modal, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import type { IdentitySource, User, UserIdentity } from "../../api/types";
import { ResourceTable } from "../../components/resource-table";
import { Empty, Time } from "../../components/ui";
import { useErrorText, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";

const ALL = "/users/{user_id}/identities";

/** The sources to which a user can be linked: [name, title, kind]; "" is the one of "Authentication". */
function useSources(): [string, string, string][] {
  const { t } = useI18n();
  const { info } = useSession();
  const further = useGet<IdentitySource[]>("/system/identity-sources").data ?? [];
  const found = further.map((item): [string, string, string] => [item.name, item.title, item.kind]);
  const mode = info.auth_mode?.replace("_auth", "") ?? "";
  if (mode !== "ldap" && mode !== "oidc") return found;
  return [["", info.oidc_provider_name || t("The source under Authentication"), mode], ...found];
}

export function Identities({ user, onClose }: { user: User; onClose: () => void }) {
  const { t } = useI18n();
  const sources = useSources();
  const path = { user_id: user.user_id };
  const query = useGet<UserIdentity[]>(ALL, { path });
  const title = (name = "") => sources.find(([source]) => source === name)?.[1] ?? name;
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={t("Identities of {name}", { name: user.username })}
      closeButtonProps={{ "aria-label": t("Close") }}
      closeOnClickOutside={false}
    >
      <Stack>
        <Text size="sm" c="dimmed">
          {t("A user who is linked to a source signs in through it, and keeps roles, robots and history.")}
        </Text>
        <ResourceTable<UserIdentity>
          label={t("Identities")}
          toolbar={false}
          list={{
            rows: query.data ?? [],
            loading: query.isPending,
            error: query.error,
            refetch: query.refetch,
          }}
          rowKey={(row) => `${row.source ?? ""} ${row.issuer ?? ""} ${row.subject}`}
          name={(row) => row.subject}
          empty={<Empty title={t("No source knows this user")} />}
          columns={[
            { title: t("Source"), cell: (row) => <b>{title(row.source)}</b> },
            { title: t("Known there as"), cell: (row) => <span className="wrap">{row.subject}</span> },
            { title: t("Added"), cell: (row) => <Time value={row.creation_time} /> },
          ]}
          remove={{
            run: (row) =>
              api.delete(ALL, { path, query: { source: row.source ?? "", subject: row.subject } }),
            word: t("Unlink"),
            title: (row) =>
              t("Unlink {name} from {source}?", { name: user.username, source: title(row.source) }),
            consequence: t("The user is signed out, and its command lines are refused."),
          }}
        />
        {sources.length > 0 && <Link user={user} sources={sources} />}
      </Stack>
    </Modal>
  );
}

function Link({ user, sources }: { user: User; sources: [string, string, string][] }) {
  const { t } = useI18n();
  const text = useErrorText();
  const client = useQueryClient();
  const [chosen, setChosen] = useState<string | null>(null);
  const source = chosen ?? sources[0][0];
  const directory = sources.find(([name]) => name === source)?.[2] === "ldap";
  const [who, setWho] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const link = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const body = directory ? { source, username: who } : { source, subject: who };
      await api.create(ALL, { path: { user_id: user.user_id }, body });
      setWho("");
    } catch (problem) {
      setError(problem);
    } finally {
      await client.invalidateQueries();
      setBusy(false);
    }
  };
  return (
    <form onSubmit={link} aria-label={t("Link to a source")}>
      <Stack gap="sm">
        <NativeSelect
          label={t("Link to a source")}
          data={sources.map(([value, label]) => ({ value, label }))}
          value={source}
          onChange={(event) => setChosen(event.currentTarget.value)}
        />
        <TextInput
          label={directory ? t("User name in the directory") : t("Subject (sub) at the provider")}
          description={
            directory ? undefined : t("Never a mail address: that may be somebody else's one day.")
          }
          autoComplete="off"
          required
          value={who}
          onChange={(event) => setWho(event.currentTarget.value)}
        />
        {error !== null && (
          <Alert color="red" role="alert">
            {text(error)}
          </Alert>
        )}
        <Button type="submit" loading={busy} style={{ alignSelf: "flex-end" }}>
          {t("Link")}
        </Button>
      </Stack>
    </form>
  );
}
