import { Badge, Text } from "@mantine/core";
import type { Accessory, Artifact, Project, SignatureVerdict } from "../../api/types";
import { Card, Digest, Failure, Loading, Time } from "../../components/ui";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { bytes } from "../../lib/format";
import { artifactPath } from "../repositories/names";
import { isSignature } from "./marks";
import { ROOT, type Where } from "./where";

type Place = { where: Where; project: Project; repository: string };

export function Referrers({ artifact, ...place }: Place & { artifact: Artifact }) {
  const { t } = useI18n();
  const verdicts = useGet<SignatureVerdict[]>(`${ROOT}/signatures`, { path: place.where });
  return (
    <Card title={t("What refers to this artifact")}>
      <ul className="tree">
        <li>
          <div className="node">
            <Badge variant="light">{artifact.type ?? t("Artifact")}</Badge>
            <Digest value={artifact.digest} />
            <Text size="sm" c="dimmed">
              {t("this artifact")}
            </Text>
          </div>
          <Branch place={place} reference={artifact.digest} depth={0} verdicts={verdicts.data ?? []} />
        </li>
      </ul>
    </Card>
  );
}

function Branch(props: { place: Place; reference: string; depth: number; verdicts: SignatureVerdict[] }) {
  const { place, reference, depth, verdicts } = props;
  const { t } = useI18n();
  const query = useGet<Accessory[]>(`${ROOT}/accessories`, {
    path: { ...place.where, reference },
    query: { page_size: 100 },
  });
  if (query.isPending) return <Loading />;
  if (query.error) return <Failure error={query.error} />;
  const items = query.data ?? [];
  if (!items.length) {
    return depth === 0 ? (
      <Text size="sm" c="dimmed" py="xs">
        {t("Nothing: no signature, SBOM or attestation is attached.")}
      </Text>
    ) : null;
  }
  return (
    <ul>
      {items.map((item) => (
        <li key={item.digest}>
          <div className="node">
            <Badge
              variant="light"
              tt="none"
              color={isSignature(item.type) ? "teal" : item.type.startsWith("sbom") ? "blue" : "gray"}
            >
              {item.type}
            </Badge>
            <Digest
              value={item.digest}
              to={artifactPath(place.project.project_id, place.repository, item.digest)}
            />
            <Text size="sm" c="dimmed">
              {bytes(item.size)} · <Time value={item.creation_time} />
            </Text>
          </div>
          {verdicts
            .filter((one) => one.accessory_digest === item.digest)
            .map((one, index) => (
              <Text size="xs" key={index} c={one.valid ? "teal.9" : "dimmed"} pl="xs">
                {one.valid
                  ? t("Verified by {name}", { name: one.signer ?? "–" })
                  : t("Not verified: {reason}", { reason: one.reason ?? "–" })}
              </Text>
            ))}
          {depth < 4 && (
            <Branch place={place} reference={item.digest} depth={depth + 1} verdicts={verdicts} />
          )}
        </li>
      ))}
    </ul>
  );
}
