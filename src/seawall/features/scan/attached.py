"""SBOMs that others attached to an image, as package lists."""

from __future__ import annotations

import asyncio
import base64
import json

from sqlalchemy import Connection

from seawall.features.scan import foreign, report
from seawall.features.scan.model import Inventory, Limits, Log
from seawall.features.scan.targets import Target
from seawall.features.trust.anchors import BUNDLE_PREFIX, DSSE, SIGNERS
from seawall.features.trust.service import TrustService
from seawall.infra.db import Database
from seawall.kernel.errors import InvalidError, RegistryError
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import accessory_digests, newest_accessories, parent_payloads, payloads_of

IN_TOTO = "application/vnd.in-toto+json"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"


class AttachedSboms:
    """Finds and reads the SBOMs attached to an image."""

    def __init__(self, db: Database, content: LocalRegistry, trust: TrustService, limits: Limits) -> None:
        self._db = db
        self._content = content
        self._trust = trust
        self._limits = limits

    async def packages(self, target: Target, log: Log) -> Inventory | None:
        """The package list of the newest usable SBOM that others attached to an image.

        In a project that trusts keys, only attestations signed by those count. What cannot be used is named
        in the log.
        """
        wanted = await self._db.point(lambda c: _attached(c, target))
        trusted: set[tuple[str, str]] | None = None
        anchors = await self._trust.keys(target.project_id) if wanted else []
        if any(key.kind in SIGNERS for key in anchors):
            signed = await self._trust.verify(target.repository, target.digest)
            trusted = {
                (item.digest, item.layer) for item in signed if item.verdict.valid and item.verdict.predicate
            }
        for digest, payload in wanted:
            layers = report.json_items(payload, "layers")
            for layer in layers[:20]:
                kind, blob = str(layer.get("mediaType", "")), str(layer.get("digest", ""))
                plain = kind in foreign.TYPES
                if not plain and not kind.startswith((DSSE, BUNDLE_PREFIX, IN_TOTO)):
                    continue
                if trusted is not None and (plain or (digest, blob) not in trusted):
                    await log(f"SBOM {digest}: left out, as no key that the project trusts has signed it")
                    continue
                try:
                    data = await self._read_blob(target.repository, blob)
                    # Validation takes seconds for thousands of packages.
                    found = await asyncio.to_thread(
                        _read_sbom, data, None if plain else target.digest, self._limits.packages
                    )
                except (RegistryError, InvalidError) as error:
                    await log(f"SBOM {digest}: left out: {error}")
                    continue
                if found is not None:
                    await log(f"package list from the SBOM {digest}")
                    return found
        return None

    async def _read_blob(self, repository: str, digest: str) -> bytes:
        blob = await self._content.blobs.get(repository, digest)
        if blob.size > 2 * foreign.MAX_BYTES:
            raise InvalidError("the SBOM is too large")
        parts = [part async for part in self._content.storage.stream(blob.key, 0, blob.size)]
        return b"".join(parts)


def _attached(connection: Connection, target: Target) -> list[tuple[str, bytes]]:
    """(digest, manifest) of what may be an SBOM of the image by others, newest first."""
    # "sbom.harbor" is our own, made of the layers.
    found = newest_accessories(connection, target.repository_id, target.digest, but="sbom.harbor", limit=100)
    return [(item.digest, item.payload) for item in found] + _beside(connection, target)


def _beside(connection: Connection, target: Target) -> list[tuple[str, bytes]]:
    """The same of attestations that BuildKit puts next to an image, into the index that has it."""
    wanted = set()
    for payload in parent_payloads(connection, target.repository_id, target.digest, 20):
        for item in report.json_items(payload, "manifests"):
            notes = item.get("annotations")
            if isinstance(notes, dict) and notes.get(_BUILDKIT_SUBJECT) == target.digest:
                wanted.add(str(item.get("digest")))
    return payloads_of(connection, target.repository_id, sorted(wanted)[:100])


def attached_sbom(connection: Connection, repository_id: int, digest: str) -> str | None:
    """Digest of the newest accessory that is an SBOM by others."""
    types = ("sbom.cyclonedx", "sbom.spdx")
    return next(iter(accessory_digests(connection, repository_id, digest, types, 1)), None)


def _read_sbom(data: bytes, subject: str | None, limit: int) -> Inventory | None:
    """The package list of a document, or of an attestation about `subject`; None for another attestation."""
    if subject is None:
        return foreign.read(data, limit)
    try:
        document = json.loads(data)
        # A sigstore bundle, an envelope, or a bare statement.
        document = document.get("dsseEnvelope") or document
        if "payload" in document:
            document = json.loads(base64.b64decode(document["payload"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidError("the attestation is not valid") from None
    found = foreign.statement(document, subject)
    return None if found is None else foreign.read_document(found, limit)
