import { Button, Stack, TagsInput, TextInput } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { CVEAllowlist } from "../../api/types";
import { Await, Card } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";

export function Allowlist() {
  const { t } = useI18n();
  const query = useGet<CVEAllowlist>("/system/CVEAllowlist");
  return (
    <Card title={t("CVE allowlist of the system")}>
      <Await query={query}>{(list) => <AllowlistForm key={JSON.stringify(list)} list={list} />}</Await>
    </Card>
  );
}

function AllowlistForm({ list }: { list: CVEAllowlist }) {
  const { t } = useI18n();
  // The stored list; an entry that stays is the entry that was.
  const [draft, setDraft] = useState<CVEAllowlist>(list ?? {});
  const save = useAction(() => api.put("/system/CVEAllowlist", { body: draft }), "Saved");
  return (
    <Stack align="flex-start">
      <TagsInput
        w="100%"
        label={t("CVEs that are let through")}
        description={t("Projects may have their own list instead.")}
        splitChars={[",", " ", "\n"]}
        value={(draft.items ?? []).map((item) => item.cve_id)}
        onChange={(ids) => setDraft({ ...draft, items: itemsOf(draft, ids) })}
      />
      <TextInput
        type="date"
        label={t("Expires")}
        description={t("Empty: never")}
        value={day(draft.expires_at)}
        onChange={(event) => setDraft({ ...draft, expires_at: endOf(event.currentTarget.value) })}
      />
      <Button size="xs" onClick={() => save.mutate()} loading={save.isPending}>
        {t("Save")}
      </Button>
    </Stack>
  );
}

export const itemsOf = (list: CVEAllowlist, ids: string[]) =>
  ids.map((cve_id) => list.items?.find((item) => item.cve_id === cve_id) ?? { cve_id });
/** The day of a time in Unix seconds, as a date field has it. */
export const day = (seconds?: number | null) =>
  seconds ? new Date(seconds * 1000).toISOString().slice(0, 10) : "";
// Null says "never" to the API; left out it would say "as before".
export const endOf = (date: string) =>
  (date ? Math.floor(new Date(date).valueOf() / 1000) : null) as number | undefined;
