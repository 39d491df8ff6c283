"""Online garbage collection: no read-only window, safe beside pushes, mounts and deletes.

Four steps, each made of short transactions:

1. Upload sessions idle too long are dropped.
2. Links (repository, blob) that no manifest of the repository refers to, and that nobody relied on for the
   grace period, are removed. Untagged manifests go first if asked for.
3. Blobs without a link, past the grace period, leave the `blobs` table; their keys go to `blob_trash`.
4. Trashed keys old enough for every reader to have finished are deleted from storage, and so are stored
   files that no row names (left by a crash between "bytes durable" and "metadata committed").

A push or mount that relies on a blob moves `touched_at` forward. The DELETEs below ask for an old
`touched_at`; PostgreSQL evaluates that condition again after waiting for the other transaction's row lock,
and SQLite has one writer at a time, so a blob that is being relied on is never removed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, exists, insert, select, tuple_

from seawall.infra import leases
from seawall.infra.db import Database, fence
from seawall.infra.storage import BlobStorage
from seawall.registry import accounting, index
from seawall.registry.belongings import is_needed
from seawall.registry.incoming import incoming
from seawall.registry.repositories import lock
from seawall.registry.tables import (
    blob_trash,
    blobs,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    uploads,
)

_BATCH = 500
_ORPHAN_SECONDS = 300
# No request writes one object for so long.
_BROKEN_SECONDS = 86400.0


@dataclass(slots=True)
class GcReport:
    """What one run did: counts, and bytes given back to storage."""

    uploads: int = 0
    manifests: int = 0
    links: int = 0
    blobs: int = 0
    deleted_files: int = 0
    orphan_files: int = 0
    broken_writes: int = 0
    freed_bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts as a JSON-able mapping."""
        return asdict(self)


async def collect(
    db: Database,
    storage: BlobStorage,
    *,
    grace_seconds: float,
    upload_seconds: float,
    reader_seconds: float = 900,
    delete_untagged: bool = False,
    dry_run: bool = False,
) -> GcReport:
    """Run one collection.

    `grace_seconds`: age below which nothing unreferenced is touched. `reader_seconds`: how long trashed
    bytes stay for readers that already found them. `dry_run` counts what step 2 would remove and changes
    nothing.
    """
    report = GcReport()
    now = time.time()
    cutoff = now - grace_seconds
    if dry_run:
        await _dry_run(db, report, cutoff, delete_untagged)
        return report
    # Files are swept too, and those of a standby are its follower's.
    await db.read(fence.check)
    await _drop_uploads(db, storage, report, now - upload_seconds)
    if delete_untagged:
        # Until there is none: what belongs to a manifest that has gone goes in the next round.
        while done := await db.write(lambda c: _delete_untagged(c, cutoff)):
            report.manifests += done
    report.links = await _batches(db, lambda c: _delete_links(c, cutoff))
    report.blobs = await _batches(db, lambda c: _trash_blobs(c, cutoff))
    await _empty_trash(db, storage, report, now - reader_seconds)
    # A file without a row may belong to a push that is between its two commits: however short a grace the
    # operator chose, such a push gets its minutes.
    await _sweep_orphans(db, storage, report, now - max(grace_seconds, reader_seconds, _ORPHAN_SECONDS))
    report.broken_writes = await storage.drop_broken(now - _BROKEN_SECONDS)
    return report


async def _batches(db: Database, step: object) -> int:
    assert callable(step)
    total = 0
    while True:
        done: int = await db.write(step)
        total += done
        if done < _BATCH:
            return total


async def _drop_uploads(db: Database, storage: BlobStorage, report: GcReport, cutoff: float) -> None:
    rows = await db.read(
        lambda c: list(c.execute(select(uploads.c.id, uploads.c.state).where(uploads.c.updated_at < cutoff)))
    )
    for upload_id, state in rows:

        def drop(connection: Connection, upload_id: str = upload_id) -> int:
            # What an instance that died while writing left behind.
            leases.forget(connection, upload_id)
            return connection.execute(
                delete(uploads).where(uploads.c.id == upload_id, uploads.c.updated_at < cutoff)
            ).rowcount

        # Row first: a session without bytes would confuse a client, bytes without a row are swept up.
        if await db.write(drop):
            await storage.drop_upload(upload_id, state)
            report.uploads += 1


def _delete_untagged(connection: Connection, cutoff: float) -> int:
    found = (
        select(manifests.c.id, repositories.c.project_id, repositories.c.id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            manifests.c.pushed_at < cutoff,
            ~is_needed(),
            ~incoming(repositories.c.name),
        )
        .limit(_BATCH)
    )
    rows = connection.execute(found).all()
    if not rows:
        return 0
    lock(connection, (row[2] for row in rows))
    # Asked again under the repositories' locks: now no push can add a tag or a parent.
    candidates = [row[0] for row in rows]
    ids = [row[0] for row in connection.execute(found.where(manifests.c.id.in_(candidates)))]
    below = {item: index.children(connection, item) for item in ids}
    gone = connection.execute(
        delete(manifests)
        .where(manifests.c.id.in_(ids))
        .returning(manifests.c.id, manifests.c.repository_id, manifests.c.digest, manifests.c.listed)
    ).all()
    projects_of = {row[0]: row[1] for row in rows}
    held: dict[int, list[str]] = {}
    for row in gone:
        held.setdefault(projects_of[row[0]], []).append(row[2])
    accounting.release_all(connection, held)
    for repository_id in sorted({row[1] for row in gone}):
        mine = [row for row in gone if row[1] == repository_id]
        affected = [item for row in mine for item in below[row[0]]]
        affected += index.accessories(connection, repository_id, [row[2] for row in mine])
        index.relist(connection, repository_id, affected, removed=sum(row[3] for row in mine))
    return len(gone)


def _unreferenced_links(cutoff: float) -> list[object]:
    return [
        repository_blobs.c.touched_at < cutoff,
        ~exists().where(
            manifest_references.c.repository_id == repository_blobs.c.repository_id,
            manifest_references.c.digest == repository_blobs.c.digest,
        ),
    ]


def _delete_links(connection: Connection, cutoff: float) -> int:
    key = tuple_(repository_blobs.c.repository_id, repository_blobs.c.digest)
    rows = connection.execute(
        select(repository_blobs.c.repository_id, repository_blobs.c.digest, repositories.c.project_id)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(*_unreferenced_links(cutoff))  # type: ignore[arg-type]
        .limit(_BATCH)
        # What a push relies on just now is no garbage, and is not waited for.
        .with_for_update(of=repository_blobs, skip_locked=True)
    ).all()
    if rows:
        gone = connection.execute(
            delete(repository_blobs)
            .where(
                key.in_([tuple(row[:2]) for row in rows]),
                *_unreferenced_links(cutoff),  # type: ignore[arg-type]
            )
            .returning(repository_blobs.c.repository_id, repository_blobs.c.digest)
        ).all()
        projects_of = {row[0]: row[2] for row in rows}
        held: dict[int, list[str]] = {}
        for row in gone:
            held.setdefault(projects_of[row[0]], []).append(row[1])
        accounting.release_all(connection, held)
    return len(rows)


def _trash_blobs(connection: Connection, cutoff: float) -> int:
    unlinked = [
        blobs.c.touched_at < cutoff,
        ~exists().where(repository_blobs.c.digest == blobs.c.digest),
    ]
    candidates = list(
        connection.execute(select(blobs.c.digest).where(*unlinked).limit(_BATCH).with_for_update()).scalars()
    )
    if candidates:
        gone = list(
            connection.execute(
                delete(blobs).where(blobs.c.digest.in_(candidates), *unlinked).returning(blobs.c.storage_key)
            ).scalars()
        )
        if gone:
            now = time.time()
            connection.execute(
                insert(blob_trash), [{"storage_key": item, "trashed_at": now} for item in gone]
            )
    return len(candidates)


async def _empty_trash(db: Database, storage: BlobStorage, report: GcReport, cutoff: float) -> None:
    keys = await db.read(
        lambda c: list(
            c.execute(select(blob_trash.c.storage_key).where(blob_trash.c.trashed_at <= cutoff)).scalars()
        )
    )
    for key in keys:
        report.freed_bytes += await storage.size(key) or 0
        await storage.delete(key)
        report.deleted_files += 1
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]

        def forget(connection: Connection, part: list[str] = part) -> None:
            connection.execute(delete(blob_trash).where(blob_trash.c.storage_key.in_(part)))

        await db.write(forget)


async def _sweep_orphans(db: Database, storage: BlobStorage, report: GcReport, cutoff: float) -> None:
    batch: dict[str, int] = {}
    async for item in storage.list():
        if item.modified < cutoff:
            batch[item.key] = item.size
        if len(batch) >= _BATCH:
            await _sweep_batch(db, storage, report, batch)
            batch = {}
    if batch:
        await _sweep_batch(db, storage, report, batch)


async def _sweep_batch(db: Database, storage: BlobStorage, report: GcReport, batch: dict[str, int]) -> None:
    def named(connection: Connection) -> set[str]:
        keys = list(batch)
        found = set(
            connection.execute(select(blobs.c.storage_key).where(blobs.c.storage_key.in_(keys))).scalars()
        )
        found |= set(
            connection.execute(
                select(blob_trash.c.storage_key).where(blob_trash.c.storage_key.in_(keys))
            ).scalars()
        )
        return found

    for key in set(batch) - await db.read(named):
        await storage.delete(key)
        report.orphan_files += 1
        report.freed_bytes += batch[key]


async def _dry_run(db: Database, report: GcReport, cutoff: float, delete_untagged: bool) -> None:
    def count_garbage(connection: Connection) -> tuple[int, int]:
        links = connection.execute(
            select(repository_blobs.c.digest).where(*_unreferenced_links(cutoff))  # type: ignore[arg-type]
        ).all()
        unlinked = connection.execute(
            select(blobs.c.digest).where(
                blobs.c.touched_at < cutoff, ~exists().where(repository_blobs.c.digest == blobs.c.digest)
            )
        ).all()
        return len(links), len(unlinked)

    report.links, report.blobs = await db.read(count_garbage)
