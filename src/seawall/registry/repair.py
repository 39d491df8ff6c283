"""Bringing back what was lost.

Bytes that storage lost come from where else they are in storage, or from another registry; pushes that the
database lost come from their receipts.

Damaged bytes are of no use to anybody. They go, so that the blob counts as missing: clients then push it
again, peers and upstreams are asked for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from seawall.infra.db import Database
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.registry.blobs import known_key
from seawall.registry.fsck import Finding, check_blob
from seawall.registry.local import LocalRegistry
from seawall.registry.protocol import Registry
from seawall.registry.receipts import Loss, Receipt, needed
from seawall.registry.stored import digest_of_key
from seawall.registry.tables import blobs, manifest_references, manifests, repositories, tags

FAULTS = frozenset({"missing", "size", "damaged"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a blob or push: `how` is "relinked", "fetched", "stored" or "lost"; the `artifacts`."""

    digest: str
    how: str
    artifacts: tuple[str, ...] = ()


async def repair(
    db: Database, storage: BlobStorage, registry: Registry, findings: Iterable[Finding]
) -> AsyncIterator[Outcome]:
    """Bring back the blobs of `findings`.

    `registry`: the one door, through which peers and upstreams are asked for what is not here.
    """
    wanted = {item.digest: item for item in findings if item.kind in FAULTS}
    places = await _places(storage, set(wanted))
    for digest, item in wanted.items():
        row = await db.read(lambda c, d=digest: _row(c, d))  # type: ignore[misc]
        if row is None:
            continue
        size, key = row
        if (await check_blob(storage, digest, size, key))[0] is None:
            continue
        found = await _good(
            storage, digest, size, [place for place in places.get(digest, []) if place != key]
        )
        if found is not None:
            await db.write(lambda c, d=digest, k=found: _relink(c, d, k))  # type: ignore[misc]
            await storage.delete(key)
            yield Outcome(digest, "relinked")
            continue
        await storage.delete(key)
        if await _fetch(registry, item, digest):
            yield Outcome(digest, "fetched")
        else:
            yield Outcome(digest, "lost", await db.read(lambda c, d=digest: _broken(c, d)))  # type: ignore[misc]


async def bring_back(
    storage: BlobStorage, content: LocalRegistry, losses: Iterable[Loss]
) -> AsyncIterator[Outcome]:
    """Store again what the database lost: manifests, their tags, and the links to blobs that storage has.

    Neither a quota nor a rule refuses what was acknowledged before. Lost deletions are left to somebody who
    decides. `how` is "stored" or "lost"; an Outcome
    names `repository@digest (tags)` as its artifact.
    """
    found = list(losses)
    places = await _places(storage, needed(found))
    for loss in found:
        item = loss.receipt
        if item.deleted:
            continue
        shown = f"{item.repository}@{item.digest}" + (f" ({', '.join(loss.tags)})" if loss.tags else "")
        try:
            if loss.whole:
                await _link_blobs(storage, content, item, places)
            await _store(content, loss)
        except (RegistryError, UnavailableError, OSError):
            yield Outcome(item.digest, "lost", (shown,))
        else:
            yield Outcome(item.digest, "stored", (shown,))


async def _link_blobs(
    storage: BlobStorage, content: LocalRegistry, item: Receipt, places: dict[str, list[str]]
) -> None:
    """Name the bytes of a lost manifest's blobs, and link them to its repository."""
    for digest, size in item.manifest().blobs.items():
        key = await content.db.read(lambda c, d=digest: known_key(c, d))  # type: ignore[misc]
        if key is None:
            key = await _good(storage, digest, size, places.get(digest, []))
        if key is not None:
            await content.blobs.link(item.repository, digest, size, key)


async def _store(content: LocalRegistry, loss: Loss) -> None:
    """Store the manifest as it was, with the tags that nobody has given to another since."""
    item = loss.receipt
    payload, media_type = item.payload, item.media_type
    if not payload:
        stored = await content.manifests.get(item.repository, item.digest)
        payload, media_type = stored.payload, stored.media_type
    await content.manifests.put(
        item.repository, item.digest, payload, media_type, loss.tags, at=item.at, replica=True
    )


async def _places(storage: BlobStorage, digests: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if digests:
        async for item in storage.list():
            digest = digest_of_key(item.key)
            if digest in digests:
                found.setdefault(digest, []).append(item.key)
    return found


async def _good(storage: BlobStorage, digest: str, size: int, keys: list[str]) -> str | None:
    for key in keys:
        if (await check_blob(storage, digest, size, key))[0] is None:
            return key
    return None


async def _fetch(registry: Registry, item: Finding, digest: str) -> bool:
    for name in item.repositories:
        try:
            blob = await registry.open_blob(name, digest, whole=False)
            async for _ in blob.read(0, blob.size):
                pass
        except (RegistryError, UnavailableError, OSError):
            continue
        return True
    return False


def _row(connection: Connection, digest: str) -> tuple[int, str] | None:
    row = connection.execute(
        select(blobs.c.size, blobs.c.storage_key).where(blobs.c.digest == digest)
    ).first()
    return (row[0], row[1]) if row else None


def _relink(connection: Connection, digest: str, key: str) -> None:
    connection.execute(update(blobs).where(blobs.c.digest == digest).values(storage_key=key))


def _broken(connection: Connection, digest: str) -> tuple[str, ...]:
    """The artifacts that need the blob, as `repository@digest (tags)`, at most 1,000."""
    rows = connection.execute(
        select(manifests.c.id, repositories.c.name, manifests.c.digest)
        .join(manifest_references, manifest_references.c.manifest_id == manifests.c.id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(manifest_references.c.digest == digest, manifest_references.c.kind == "blob")
        .order_by(repositories.c.name, manifests.c.digest)
        .limit(1000)
    ).all()
    shown = []
    for identifier, name, manifest in rows:
        named = select(tags.c.name).where(tags.c.manifest_id == identifier).order_by(tags.c.name).limit(20)
        known = list(connection.execute(named).scalars())
        shown.append(f"{name}@{manifest}" + (f" ({', '.join(known)})" if known else ""))
    return tuple(shown)
