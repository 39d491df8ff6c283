// The two sites of a registry that survives the loss of a data center: who is active, how far the standby
// follows, and the switch between them.

import { Alert, Button, Checkbox, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { ShieldOff, TriangleAlert } from "lucide-react";
import { type FormEvent, useState } from "react";
import { ApiError, api } from "../../api/client";
import type { Divergence, DrState } from "../../api/types";
import { DataTable } from "../../components/table";
import { Await, Card, Empty, Facts, Status, Time } from "../../components/ui";
import { useErrorText, useGet } from "../../hooks";
import { type Text as Key, useI18n } from "../../i18n";
import { seconds } from "../../lib/format";

type Action = "promote" | "force" | "demote" | "failback";

const ACTIONS: Record<Action, { button: Key; title: Key; what: Key[]; danger: boolean }> = {
  promote: {
    button: "Promote this site",
    title: "Promote {site}?",
    what: [
      "This site becomes the active one and takes pushes and changes.",
      "The other site is asked first: it stops taking writes, hands over what is left, and follows from then on.",
      "Pushes are refused for some seconds; pulls go on.",
    ],
    danger: false,
  },
  force: {
    button: "Promote without the other site",
    title: "Promote {site} without the other site?",
    what: [
      "For a site that is lost. This site becomes the active one though neither the other site nor the witness agrees.",
      "What the other site acknowledged and this one has not received is missing here; when the other site comes back, it is listed below as left over.",
      "If the other site still runs and takes writes, the two go different ways.",
    ],
    danger: true,
  },
  demote: {
    button: "Demote this site",
    title: "Demote {site}?",
    what: [
      "This site takes no more pushes and changes; pulls go on.",
      "Nobody can push anywhere until a site is promoted.",
    ],
    danger: true,
  },
  failback: {
    button: "Fail back",
    title: "Switch the roles of the two sites?",
    what: [
      "Writes stop at the active site, the standby takes over what is left, and then the roles change. Nothing is lost.",
      "Pushes are refused for some seconds; pulls go on.",
    ],
    danger: false,
  },
};

export function DisasterRecovery() {
  const { t } = useI18n();
  const query = useGet<DrState>("/dr", {}, { refetchInterval: 3000, retry: false });
  const off = query.error instanceof ApiError && query.error.status === 404;
  if (off || query.data?.role === "off") {
    return (
      <div className="card">
        <Empty title={t("This registry has one site")}>
          {t(
            "With a second site, a standby keeps a copy of everything and takes over when this site is lost. It is set up in the configuration files of both sites (dr).",
          )}
        </Empty>
      </div>
    );
  }
  return <Await query={query}>{(state) => <Sites state={state} />}</Await>;
}

function Sites({ state }: { state: DrState }) {
  const { t } = useI18n();
  const [asking, setAsking] = useState<Action | null>(null);
  const actions: Action[] = state.can.flatMap((name): Action[] =>
    name === "promote" ? ["promote", "force"] : [name as Action],
  );
  return (
    <Stack>
      {state.role === "fenced" && (
        <Alert color="red" icon={<ShieldOff size={18} aria-hidden />} title={t("This site is fenced off")}>
          {t("The other site is active since a later switch. This one takes no writes until it follows.")}
        </Alert>
      )}
      {state.error && (
        <Alert color="red" icon={<TriangleAlert size={18} aria-hidden />} title={t("Something is wrong")}>
          {state.error}
        </Alert>
      )}
      <div className="grid wide">
        <Card title={t("This site")} right={<Status value={state.role} />}>
          <Facts
            items={[
              [t("Site"), <b key="site">{state.site}</b>],
              [t("Epoch"), state.epoch],
              [t("Copying"), state.syncing ? <Status key="syncing" value={state.syncing} /> : "–"],
            ]}
          />
        </Card>
        <Card
          title={t("The other site")}
          right={state.peer && <Status value={state.peer.reachable ? "reachable" : "away"} />}
        >
          {state.peer ? (
            <Facts
              items={[
                [t("Site"), <b key="site">{state.peer.site || "–"}</b>],
                [t("Address"), state.peer.url],
                [t("Role"), state.peer.role ? <Status key="role" value={state.peer.role} /> : "–"],
                [t("Epoch"), state.peer.epoch ?? "–"],
              ]}
            />
          ) : (
            <Text size="sm" c="dimmed">
              {t("None")}
            </Text>
          )}
        </Card>
        <Card title={t("Lag")}>
          <Facts
            items={[
              [t("The standby is behind by"), seconds(state.lag_seconds)],
              [t("Changes not yet copied"), state.behind_changes ?? "–"],
              [t("Last change copied"), <Time key="last" value={state.last_applied_at} />],
            ]}
          />
        </Card>
        <Card
          title={t("Witness")}
          right={state.witness && <Status value={state.witness.reachable ? "reachable" : "away"} />}
        >
          {state.witness ? (
            <Facts
              items={[
                [t("Address"), state.witness.url],
                [t("Says that active is"), state.witness.held_by || "–"],
              ]}
            />
          ) : (
            <Text size="sm" c="dimmed">
              {t("None: only a person decides that a site is lost.")}
            </Text>
          )}
        </Card>
      </div>
      {actions.length > 0 && (
        <Card title={t("Switch")}>
          <Group gap="xs">
            {actions.map((name) => (
              <Button
                key={name}
                variant={name === "force" ? "light" : "default"}
                color={ACTIONS[name].danger ? "red" : undefined}
                onClick={() => setAsking(name)}
              >
                {t(ACTIONS[name].button)}
              </Button>
            ))}
          </Group>
        </Card>
      )}
      {state.divergences > 0 && <Divergences count={state.divergences} />}
      {asking && <Ask action={asking} state={state} onClose={() => setAsking(null)} />}
    </Stack>
  );
}

function Ask({ action, state, onClose }: { action: Action; state: DrState; onClose: () => void }) {
  const { t } = useI18n();
  const text = useErrorText();
  const client = useQueryClient();
  const [typed, setTyped] = useState("");
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const { button, title, what, danger } = ACTIONS[action];
  const ready = typed.trim() === state.site && (action !== "force" || sure);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!ready) return;
    setBusy(true);
    setError("");
    try {
      if (action === "demote") await api.post("/dr/demote");
      else if (action === "failback") await api.post("/dr/failback");
      else await api.post("/dr/promote", { body: { force: action === "force" } });
      await client.invalidateQueries();
      notifications.show({ message: t("Done"), color: "teal" });
      onClose();
    } catch (problem) {
      setError(text(problem));
      setBusy(false);
    }
  };
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={t(title, { site: state.site })}
      closeOnClickOutside={false}
      closeButtonProps={{ "aria-label": t("Close") }}
    >
      <form onSubmit={submit}>
        <Stack gap="sm">
          <ul className="consequences">
            {what.map((line) => (
              <li key={line}>{t(line)}</li>
            ))}
          </ul>
          {action === "force" && (
            <Checkbox
              checked={sure}
              onChange={(event) => setSure(event.currentTarget.checked)}
              label={t(
                "The other site is stopped, and nobody starts it before it is set to follow this one.",
              )}
            />
          )}
          <TextInput
            label={t("Type the name of this site to confirm: {site}", { site: state.site })}
            value={typed}
            autoComplete="off"
            data-autofocus
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          {error && (
            <Alert color="red" role="alert">
              {error}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {t("Cancel")}
            </Button>
            <Button type="submit" color={danger ? "red" : undefined} disabled={!ready} loading={busy}>
              {t(button)}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function Divergences({ count }: { count: number }) {
  const { t, word } = useI18n();
  const query = useGet<Divergence[]>("/dr/divergences", {}, { refetchInterval: 30_000 });
  return (
    <Card title={t("Left over at switches ({n})", { n: count })}>
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          {t("What an active site had acknowledged when it was lost, and what happened to it later.")}
        </Text>
        <DataTable
          label={t("Left over at switches")}
          list={{ rows: query.data ?? [], loading: query.isPending, error: query.error }}
          rowKey={(row) => row.id}
          empty={<Empty title={t("None")} />}
          expand={(row) => <code className="wrap">{JSON.stringify(row.detail)}</code>}
          columns={[
            { title: t("When"), cell: (row) => <Time value={row.at} /> },
            { title: t("Kind"), cell: (row) => word(row.kind) },
            { title: t("Name"), cell: (row) => <b>{row.name}</b> },
            { title: t("Outcome"), cell: (row) => <Status value={row.outcome} /> },
          ]}
        />
      </Stack>
    </Card>
  );
}
