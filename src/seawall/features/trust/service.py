"""What a project trusts, and whether an artifact's signatures are by those."""

from __future__ import annotations

import datetime
import functools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from seawall.access.access import project_by_id
from seawall.access.projects import settings_of_each
from seawall.access.views import projects
from seawall.features.trust.anchors import (
    BUNDLE_PREFIX,
    COSE,
    DSSE,
    JWS,
    SIGNERS,
    SIMPLE_SIGNING,
    Anchor,
    Verdict,
    read_anchor,
)
from seawall.features.trust.cosign import cosign
from seawall.features.trust.notary import signed_tags
from seawall.features.trust.notation import notation
from seawall.features.trust.tables import trusted_keys
from seawall.infra.db import Database
from seawall.infra.db.gather import Gatherer
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, RegistryError
from seawall.registry.artifacts import ArtifactService
from seawall.registry.lookups import StoredAccessory, accessories_from, find_manifest, parent_digests

# Signatures are small; whatever is larger is none.
_PAYLOAD_BYTES = 4 * 1024 * 1024
# Accessories that are read at once.
_ACCESSORIES = 100
# Results that are remembered.
_VERIFIED = 4096
_LAYERS = 20
# Replaced manifests that are asked when a signature was first seen, oldest first.
_REPLACED = 100
_COSIGN = "signature.cosign"
COSIGN, NOTATION = "enable_content_trust_cosign", "enable_content_trust"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key or certificate that a project trusts."""

    id: int
    name: str
    kind: str
    pem: str
    fingerprint: str
    created_at: float
    identities: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature or attestation of an artifact: accessory it is in, its kind, verdict, its blob."""

    digest: str
    type: str
    verdict: Verdict
    layer: str


class TrustService:
    """Trusted keys of projects, and verification."""

    def __init__(self, db: Database, artifacts: ArtifactService) -> None:
        self._db = db
        self._artifacts = artifacts
        self._policies: Gatherer[str, set[str]] = Gatherer(db, _policies)
        # Verification reads blobs and computes; its result depends on nothing but the key.
        self._verified: OrderedDict[tuple[Any, ...], tuple[Signed, ...]] = OrderedDict()
        self._vouchers: OrderedDict[tuple[Any, ...], str] = OrderedDict()

    # -- trusted keys ------------------------------------------------------------------------------

    async def keys(self, project_id: int) -> list[TrustedKey]:
        """What the project trusts, by name."""
        return await self._db.point(lambda c: _keys(c, project_id))

    async def add_key(
        self,
        project_id: int,
        name: str,
        pem: str,
        usage: str = "signer",
        identities: Sequence[tuple[str, str]] = (),
        *,
        also: Also = nothing,
    ) -> TrustedKey:
        """Trust a public key or certificate (PEM). Raises InvalidError, ConflictError, NotFoundError.

        `usage` is "signer", or "timestamp" or "log" for who says when a signature was made. `identities`:
        (issuer, subject) of the signers that a certificate is confined to, see `Anchor`.
        """
        if not 1 <= len(name) <= 255 or name != name.strip() or "\0" in name:
            raise InvalidError("the name must have 1 to 255 characters")
        if len(pem) > 65536:
            raise InvalidError("the PEM text is too long")
        kind, fingerprint = read_anchor(pem, usage)
        if identities and kind != "certificate":
            raise InvalidError("only certificates of signers are confined to identities")
        if any(not subject.strip("* ") and not issuer for issuer, subject in identities):
            raise InvalidError("an identity needs a subject, or an issuer")
        if not all(part.isprintable() for identity in identities for part in identity):
            raise InvalidError("identities must be printable text")
        now = time.time()

        def insert_key(connection: Connection) -> TrustedKey:
            if project_by_id(connection, project_id) is None:
                raise NotFoundError("project not found")
            for key in _keys(connection, project_id):
                if key.name == name or key.fingerprint == fingerprint:
                    raise ConflictError(f"{key.name} is trusted already")
            kept = [list(item) for item in identities] or None
            values = {"name": name, "kind": kind, "pem": pem.strip() + "\n", "fingerprint": fingerprint}
            made = connection.execute(
                insert(trusted_keys)
                .values(project_id=project_id, created_at=now, identities=kept, **values)
                .returning(trusted_keys.c.id)
            ).scalar_one()
            return TrustedKey(made, created_at=now, identities=tuple(identities), **values)

        return await self._db.write(insert_key, also=also)

    async def remove_key(self, project_id: int, key_id: int, *, also: Also = nothing) -> None:
        """Trust a key no longer. Raises NotFoundError."""
        query = delete(trusted_keys).where(
            trusted_keys.c.project_id == project_id, trusted_keys.c.id == key_id
        )
        if not await self._db.write(lambda c: c.execute(query).rowcount, also=also):
            raise NotFoundError("trusted key not found")

    # -- verification ------------------------------------------------------------------------------

    async def verify(self, repository: str, digest: str) -> list[Signed]:
        """Every signature and attestation of an artifact, with the verdict of its project's keys."""
        anchors = await self._db.point(lambda c: _anchors(c, repository.partition("/")[0]))
        found: list[Signed] = []
        async for accessory in self._attached(repository, digest):
            found += await self._verify(repository, digest, accessory, anchors)
        return found

    async def _attached(
        self, repository: str, digest: str, kind: str | None = None
    ) -> AsyncIterator[StoredAccessory]:
        """Every accessory of an artifact, of all kinds or of one, read in pieces."""
        after: int | None = 0
        while after is not None:
            read = functools.partial(
                accessories_from,
                repository=repository,
                digest=digest,
                kind=kind,
                after=after,
                limit=_ACCESSORIES,
            )
            part = await self._db.point(read)
            for item in part:
                yield item
            after = part[-1].id if len(part) == _ACCESSORIES else None

    async def _verify(
        self, repository: str, digest: str, accessory: StoredAccessory, anchors: Sequence[Anchor]
    ) -> tuple[Signed, ...]:
        key = (repository, digest, accessory.digest, accessory.pushed_at, tuple(anchors))
        known = self._verified.get(key)
        if known is not None:
            self._verified.move_to_end(key)
            return known
        result = tuple(await self._check(repository, digest, accessory, anchors))
        # Notation signatures may expire by themselves, so they are looked at each time.
        if accessory.type != "signature.notation":
            self._verified[key] = result
            if len(self._verified) > _VERIFIED:
                self._verified.popitem(last=False)
        return result

    async def _check(
        self, repository: str, digest: str, accessory: StoredAccessory, anchors: Sequence[Anchor]
    ) -> list[Signed]:
        manifest = msgspec.json.decode(accessory.payload)
        found = []
        for layer in (manifest.get("layers") or manifest.get("blobs") or [])[:_LAYERS]:
            kind = str(layer.get("mediaType", ""))
            if not (kind in (SIMPLE_SIGNING, DSSE, JWS, COSE) or kind.startswith(BUNDLE_PREFIX)):
                continue
            try:
                payload = await self._artifacts.read(repository, layer["digest"], _PAYLOAD_BYTES)
            except (RegistryError, NotFoundError, InvalidError):
                gone = Verdict(False, reason="its blob is gone")
                found.append(Signed(accessory.digest, accessory.type, gone, layer["digest"]))
                continue
            if accessory.type == "signature.notation":
                verdict = notation(kind, payload, digest, anchors, accessory.pushed_at)
            else:
                annotations = layer.get("annotations") or {}
                verdict = cosign(kind, annotations, payload, digest, anchors, accessory.pushed_at)
                if not verdict.valid and accessory.type == _COSIGN:
                    first = await self._first_seen(repository, digest, layer)
                    if first is not None:
                        verdict = cosign(kind, annotations, payload, digest, anchors, first)
            found.append(Signed(accessory.digest, accessory.type, verdict, layer["digest"]))
        return found

    async def _first_seen(self, repository: str, digest: str, layer: Any) -> float | None:
        """When a signature was first pushed (Unix seconds), if in a manifest that was replaced since.

        cosign adds a signature by a new manifest under the same tag, which has those of before too.
        """
        replaced = await self._db.point(
            lambda c: accessories_from(c, repository, digest, _COSIGN, limit=_REPLACED, replaced=True)
        )
        times = [
            item.pushed_at
            for item in replaced
            if layer in (msgspec.json.decode(item.payload).get("layers") or [])
        ]
        return min(times, default=None)

    # -- policy ------------------------------------------------------------------------------------

    async def refusal(self, repository: str, digest: str) -> str | None:
        """Why the project's policy holds the manifest back, None when it does not.

        A child of an index is let through with the index. What needs no signature the caller asks
        `Exemptions`.
        """
        wanted = await self._policies.get(repository.partition("/")[0])
        if not wanted:
            return None
        found = await self._db.point(lambda c: find_manifest(c, repository, digest))
        if found is None:
            # A proxy cache gives an image out while it is being stored; signatures are looked for after that.
            return "The image is being fetched and cannot be judged yet; try again later"
        parents = await self._db.point(lambda c: parent_digests(c, repository, digest))
        digests = [digest, *parents]
        anchors = await self._db.point(lambda c: _anchors(c, repository.partition("/")[0]))
        for name, what in ((COSIGN, "cosign"), (NOTATION, "notation")):
            if name not in wanted:
                continue
            if not await self._any_signed(repository, digests, what, anchors):
                tool = "cosign" if what == "cosign" else "notation or Notary"
                # Harbor's words first, for scripts that look for them.
                return f"The image is not signed by {what}. The project takes only what {tool} has signed"
        return None

    async def _any_signed(
        self, repository: str, digests: list[str], what: str, anchors: Sequence[Anchor]
    ) -> bool:
        # Without any trusted key a signature by anybody counts, which is all that Harbor asks. With one,
        # nothing else vouches: no stranger's signature, no collection of Notary.
        strict = any(a.kind in SIGNERS for a in anchors)
        for digest in digests:
            if await self._is_signed(repository, digest, f"signature.{what}", anchors, strict=strict):
                return True
        if what == "notation" and not strict:
            now = datetime.datetime.now(datetime.UTC)
            vouched = await self._db.point(lambda c: set(signed_tags(c, repository, now).values()))
            return bool(vouched & set(digests))
        return False

    async def _is_signed(
        self, repository: str, digest: str, kind: str, anchors: Sequence[Anchor], *, strict: bool
    ) -> bool:
        """Whether any accessory of this kind has a signature that counts, however many there are."""
        key = (repository, digest, kind, tuple(anchors))
        # The one that vouched last is asked first.
        last = self._vouchers.get(key)
        if last is not None:
            found = await self._db.point(lambda c: accessories_from(c, repository, digest, kind, only=last))
            if await self._vouches(repository, digest, found, anchors, strict=strict):
                return True
        async for item in self._attached(repository, digest, kind):
            if await self._vouches(repository, digest, [item], anchors, strict=strict):
                self._vouchers[key] = item.digest
                if len(self._vouchers) > _VERIFIED:
                    self._vouchers.popitem(last=False)
                return True
        return False

    async def _vouches(
        self,
        repository: str,
        digest: str,
        accessories: Sequence[StoredAccessory],
        anchors: Sequence[Anchor],
        *,
        strict: bool,
    ) -> bool:
        for accessory in accessories:
            for signed in await self._verify(repository, digest, accessory, anchors):
                verdict = signed.verdict
                if verdict.predicate is None and (verdict.valid or not strict):
                    return True
        return False


def _keys(connection: Connection, project_id: int) -> list[TrustedKey]:
    columns = trusted_keys.c
    query = (
        select(
            columns.id,
            columns.name,
            columns.kind,
            columns.pem,
            columns.fingerprint,
            columns.created_at,
            columns.identities,
        )
        .where(columns.project_id == project_id)
        .order_by(columns.name)
    )
    return [TrustedKey(*row[:-1], _identities(row[-1])) for row in connection.execute(query)]


def _identities(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(issuer), str(subject)) for issuer, subject in value or ())


def _anchors(connection: Connection, project: str) -> list[Anchor]:
    query = (
        select(trusted_keys.c.name, trusted_keys.c.kind, trusted_keys.c.pem, trusted_keys.c.identities)
        .join(projects, projects.c.id == trusted_keys.c.project_id)
        .where(projects.c.name == project)
        .order_by(trusted_keys.c.id)
    )
    return [Anchor(*row[:-1], _identities(row[-1])) for row in connection.execute(query)]


def _policies(connection: Connection, names: Sequence[str]) -> dict[str, set[str]]:
    """Project -> the kinds of signature that its policy asks for."""
    found = settings_of_each(connection, names, (COSIGN, NOTATION))
    return {
        project: {name for name, value in settings.items() if value == "true"}
        for project, (_, settings) in found.items()
    }
