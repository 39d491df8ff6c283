// An icon for each kind of artifact, with the kind as its text.
import { Tooltip } from "@mantine/core";
import { BadgeCheck, Box, Boxes, BrainCircuit, FileBox, FileText, Ship } from "lucide-react";
import type { Artifact, Reference } from "../../api/types";
import { useI18n } from "../../i18n";

const ICONS = {
  IMAGE: Box,
  CHART: Ship,
  CNAB: FileBox,
  WASM: FileBox,
  CNAI: BrainCircuit,
  SBOM: FileText,
  SIGNATURE: BadgeCheck,
} as Record<string, typeof Box>;

export const KINDS = ["IMAGE", "CHART", "CNAB", "WASM", "CNAI"];

export function KindIcon({ artifact }: { artifact: Artifact }) {
  const { t, word } = useI18n();
  const index = !!artifact.references?.length;
  const Icon = index ? Boxes : (ICONS[artifact.type ?? ""] ?? FileBox);
  const name = index
    ? t("{kind} for several platforms", { kind: word(artifact.type ?? "IMAGE") })
    : word(artifact.type ?? "–");
  return (
    <Tooltip label={name}>
      <span className="kind" role="img" aria-label={name}>
        <Icon size={18} strokeWidth={1.7} aria-hidden />
      </span>
    </Tooltip>
  );
}

/** BuildKit lists the attestations of an image as entries of the index, for a platform that does not exist. */
export const isAttestation = (reference: Reference) =>
  (reference.annotations as Record<string, string> | undefined)?.["vnd.docker.reference.type"] ===
  "attestation-manifest";
export const attests = (reference: Reference) =>
  (reference.annotations as Record<string, string> | undefined)?.["vnd.docker.reference.digest"];

export const platformOf = (reference: Pick<Reference, "platform">) =>
  [reference.platform?.os, reference.platform?.architecture, reference.platform?.variant]
    .filter(Boolean)
    .join("/");

/** The platforms of an index, or the one of an image. */
export function platformsOf(artifact: Artifact): string[] {
  const references = (artifact.references ?? []).filter((item) => !isAttestation(item));
  if (references.length) return [...new Set(references.map(platformOf).filter(Boolean))];
  const extra = artifact.extra_attrs ?? {};
  const own = [extra.os, extra.architecture].filter((part) => typeof part === "string").join("/");
  return own ? [own] : [];
}

export function Platforms({ artifact, most = 3 }: { artifact: Artifact; most?: number }) {
  const names = platformsOf(artifact);
  return (
    <>
      {names.slice(0, most).map((name) => (
        <span className="chip" key={name} title={name}>
          {name}
        </span>
      ))}
      {names.length > most && (
        <Tooltip label={names.join(", ")} multiline maw={360}>
          <span className="chip">+{names.length - most}</span>
        </Tooltip>
      )}
    </>
  );
}
