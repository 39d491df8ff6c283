"""fsck: compare metadata with stored bytes and name every blob that is missing or damaged."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, union_all

from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.storage import BlobStorage
from seawall.kernel import progress
from seawall.kernel.names import digest_of
from seawall.registry.tables import (
    blobs,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
)

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: `kind` is missing, size, damaged, manifest or reference; `repositories` it affects."""

    kind: str
    digest: str
    message: str
    repositories: tuple[str, ...]


@dataclass(slots=True)
class FsckReport:
    """Totals of a run; `blobs` and `manifests` checked, bytes read."""

    blobs: int = 0
    manifests: int = 0
    bytes: int = 0
    faults: int = 0


async def check(
    db: Database, storage: BlobStorage, report: FsckReport, *, fast: bool = False
) -> AsyncIterator[Finding]:
    """Check every blob and manifest; yields faults as they are found and fills `report`.

    `fast` compares sizes only; otherwise every byte is read and hashed.
    """
    last = ""
    total = None
    if progress.wanted():
        total = await db.read(lambda c: c.execute(select(func.count()).select_from(blobs)).scalar_one())
    while True:
        rows = await db.read(
            lambda c, last=last: list(  # type: ignore[misc]
                c.execute(
                    select(blobs.c.digest, blobs.c.size, blobs.c.storage_key)
                    .where(blobs.c.digest > last)
                    .order_by(blobs.c.digest)
                    .limit(_BATCH)
                )
            )
        )
        for digest, size, key in rows:
            report.blobs += 1
            fault, read = await check_blob(storage, digest, size, key, fast=fast)
            report.bytes += read
            progress.step("blobs checked", report.blobs, total)
            # Between the list and the look, garbage collection may have taken the blob rightfully.
            if fault and await still_named(db, digest, key):
                report.faults += 1
                yield Finding(fault[0], digest, fault[1], await users_of(db, digest))
        if len(rows) < _BATCH:
            break
        last = rows[-1][0]
    async for finding in _check_manifests(db, report):
        report.faults += 1
        yield finding


async def check_blob(
    storage: BlobStorage, digest: str, size: int, key: str, *, fast: bool = False
) -> tuple[tuple[str, str] | None, int]:
    """((kind and message of the fault, None when the blob is intact), bytes read)."""
    read = 0
    try:
        actual = await storage.size(key)
        if actual is None:
            return ("missing", "bytes are missing"), 0
        if actual != size:
            return ("size", f"has {actual} bytes, {size} were recorded"), 0
        if not fast:
            algorithm, _, expected = digest.partition(":")
            running = hashlib.new(algorithm)
            async for chunk in storage.stream(key, 0, size):
                await asyncio.to_thread(running.update, chunk)
                read += len(chunk)
            if running.hexdigest() != expected:
                return ("damaged", "content does not match the digest"), read
    except FileNotFoundError:
        return ("missing", "bytes are missing"), read
    except OSError as error:
        return ("damaged", f"cannot be read: {error.strerror or error}"), read
    return None, read


async def still_named(db: Database, digest: str, key: str) -> bool:
    """Whether the blob is recorded, with these bytes."""
    return await db.read(
        lambda c: (
            c.execute(
                select(blobs.c.digest).where(blobs.c.digest == digest, blobs.c.storage_key == key)
            ).first()
            is not None
        )
    )


async def users_of(db: Database, digest: str) -> tuple[str, ...]:
    """The repositories that have the blob, at most 100."""
    return await db.read(
        lambda c: tuple(
            c.execute(
                select(repositories.c.name)
                .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
                .where(repository_blobs.c.digest == digest)
                .order_by(repositories.c.name)
                .limit(100)
            ).scalars()
        )
    )


async def _check_manifests(db: Database, report: FsckReport) -> AsyncIterator[Finding]:
    last = 0
    while True:

        def page(connection: Connection, last: int = last) -> list[tuple[int, str, str, bytes | None]]:
            return [
                (row[0], row[1], row[2], row[3])
                for row in connection.execute(
                    select(
                        manifests.c.id, manifests.c.digest, repositories.c.name, manifest_payloads.c.payload
                    )
                    .join(repositories, repositories.c.id == manifests.c.repository_id)
                    # Bounded too: PostgreSQL would read the payloads of all pages before, each time.
                    .outerjoin(
                        manifest_payloads,
                        (manifest_payloads.c.manifest_id == manifests.c.id)
                        & (manifest_payloads.c.manifest_id > last),
                    )
                    .where(manifests.c.id > last)
                    .order_by(manifests.c.id)
                    .limit(100)
                )
            ]

        rows = await db.read(page)
        dangling = await db.read(lambda c, ids=[row[0] for row in rows]: _dangling(c, ids))  # type: ignore[misc]
        for manifest_id, digest, name, payload in rows:
            report.manifests += 1
            if payload is None or digest_of(bytes(payload), digest.partition(":")[0]) != digest:
                yield Finding("manifest", digest, "manifest payload is missing or damaged", (name,))
            for target, what in dangling.get(manifest_id, ()):
                named = (
                    f"index {digest}, which cannot be pulled whole,"
                    if what == "manifest"
                    else (f"manifest {digest}")
                )
                yield Finding("reference", target, f"is named by {named} but not there", (name,))
        if len(rows) < 100:
            return
        last = rows[-1][0]


def _dangling(connection: Connection, ids: list[int]) -> dict[int, list[tuple[str, str]]]:
    """(digest, "blob" or "manifest") of what each manifest names and its repository lacks.

    An index of a proxy-cache project has those children only that were pulled.
    """
    references = manifest_references.c
    missing_blobs = (
        select(references.manifest_id, references.digest, references.kind)
        .outerjoin(
            repository_blobs,
            (repository_blobs.c.repository_id == references.repository_id)
            & (repository_blobs.c.digest == references.digest),
        )
        .where(
            references.manifest_id.in_(ids),
            references.kind == "blob",
            repository_blobs.c.digest.is_(None),
        )
    )
    children = manifests.alias()
    missing_children = (
        select(references.manifest_id, references.digest, references.kind)
        .join(repositories, repositories.c.id == references.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .outerjoin(
            children,
            (children.c.repository_id == references.repository_id) & (children.c.digest == references.digest),
        )
        .where(
            references.manifest_id.in_(ids),
            references.kind == "manifest",
            projects.c.registry_id.is_(None),
            children.c.id.is_(None),
        )
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for row in connection.execute(union_all(missing_blobs, missing_children)):
        found.setdefault(row[0], []).append((row[1], row[2]))
    return found
