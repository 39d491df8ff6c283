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
  const [ids, setIds] = useState((list?.items ?? []).map((item) => item.cve_id));
  const [expires, setExpires] = useState(
    list?.expires_at ? new Date(list.expires_at * 1000).toISOString().slice(0, 10) : "",
  );
  const save = useAction(
    () =>
      api.put("/system/CVEAllowlist", {
        body: {
          items: ids.map((cve_id) => ({ cve_id })),
          expires_at: expires ? Math.floor(new Date(expires).valueOf() / 1000) : null,
        },
      }),
    "Saved",
  );
  return (
    <Stack align="flex-start">
      <TagsInput
        w="100%"
        label={t("CVEs that are let through")}
        description={t("Projects may have their own list instead.")}
        splitChars={[",", " ", "\n"]}
        value={ids}
        onChange={setIds}
      />
      <TextInput
        type="date"
        label={t("Expires")}
        description={t("Empty: never")}
        value={expires}
        onChange={(event) => setExpires(event.currentTarget.value)}
      />
      <Button size="xs" onClick={() => save.mutate()} loading={save.isPending}>
        {t("Save")}
      </Button>
    </Stack>
  );
}
