import { Button } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { TrustedKey } from "../../api/types";
import { FormModal } from "../../components/dialogs";
import { ResourceTable } from "../../components/resource-table";
import { Card, Digest, Empty, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";

/** The keys and certificates by which the project tells good signatures from others. */
export function TrustedKeys({ project, may }: { project: number; may: boolean }) {
  const { t, word } = useI18n();
  const [adding, setAdding] = useState(false);
  const path = { project_name_or_id: project };
  const query = useGet<TrustedKey[]>("/projects/{project_name_or_id}/trustedkeys", { path });
  return (
    <Card
      title={t("Trusted keys and certificates")}
      right={
        may && (
          <Button size="xs" variant="default" onClick={() => setAdding(true)}>
            {t("Add")}
          </Button>
        )
      }
    >
      <ResourceTable<TrustedKey>
        toolbar={false}
        name={(row) => row.name}
        label={t("Trusted keys and certificates")}
        list={{ rows: query.data ?? [], error: query.error, loading: query.isPending }}
        rowKey={(row) => row.id}
        empty={
          <Empty title={t("None: any signature counts")}>
            {t("With keys here, only signatures that one of them verifies let an image through.")}
          </Empty>
        }
        columns={[
          { title: t("Name"), cell: (row) => <b>{row.name}</b> },
          { title: t("Kind"), cell: (row) => word(row.kind) },
          {
            title: t("Confined to"),
            cell: (row) =>
              row.identities.map(({ subject, issuer }) => (
                <div key={`${subject} ${issuer}`}>{issuer ? `${subject} (${issuer})` : subject}</div>
              )),
          },
          { title: t("Fingerprint"), cell: (row) => <Digest value={`sha256:${row.fingerprint}`} /> },
          { title: t("Created"), cell: (row) => <Time value={row.creation_time} /> },
        ]}
        remove={
          may && {
            run: (row) =>
              api.delete("/projects/{project_name_or_id}/trustedkeys/{key_id}", {
                path: { ...path, key_id: row.id },
              }),
            consequence: t(
              "Images that only this key verifies are no longer served where signatures are required.",
            ),
          }
        }
      />
      {adding && (
        <FormModal
          opened
          onClose={() => setAdding(false)}
          title={t("Trusted keys and certificates")}
          submit={t("Add")}
          initial={{ usage: "signer" }}
          fields={[
            { name: "name", label: t("Name"), required: true },
            {
              name: "usage",
              label: t("Trusted for"),
              type: "select",
              options: [
                { value: "signer", label: t("Signatures") },
                { value: "timestamp", label: t("Times of signatures: a timestamp authority") },
                { value: "log", label: t("Times of signatures: a transparency log") },
              ],
            },
            {
              name: "pem",
              label: t("Public key or certificate (PEM)"),
              type: "textarea",
              required: true,
              placeholder: "-----BEGIN PUBLIC KEY-----",
            },
            {
              name: "subject",
              label: t("Only signers of this name"),
              help: t(
                "Of an authority: the name in the signer's certificate; * is any text. Empty: everybody.",
              ),
            },
            { name: "issuer", label: t("vouched for by") },
          ]}
          onSubmit={async ({ subject, issuer, ...rest }) => {
            const confined = subject || issuer;
            const identities = confined ? [{ subject: subject || "*", issuer: issuer ?? "" }] : [];
            const body = { ...rest, identities };
            await api.create("/projects/{project_name_or_id}/trustedkeys", { path, body });
            query.refetch();
          }}
        />
      )}
    </Card>
  );
}
