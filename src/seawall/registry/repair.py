"""Bringing back bytes that storage lost: from where else they are in storage, or from another registry.

Damaged bytes are of no use to anybody. They go, so that the blob counts as missing: clients then push it
again, peers and upstreams are asked for it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from seawall.infra.db import Database
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.registry.fsck import Finding, check_blob
from seawall.registry.protocol import Registry
from seawall.registry.tables import blobs, manifest_references, manifests, repositories, tags

_KEY = re.compile(r"(?P<value>[0-9a-f]{32,128})\.(?P<algorithm>[a-z0-9]+)\.[0-9a-f]{8}")
FAULTS = frozenset({"missing", "size", "damaged"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a blob: `how` is "relinked", "fetched" or "lost"; `artifacts` it breaks when lost."""

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


async def _places(storage: BlobStorage, digests: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if digests:
        async for item in storage.list():
            named = _KEY.fullmatch(item.key)
            if named and (digest := f"{named['algorithm']}:{named['value']}") in digests:
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
