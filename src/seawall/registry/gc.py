"""Online garbage collection: no read-only window, safe during pushes, mounts and deletes.

Four steps, each made of short transactions:

1. Upload sessions idle too long are dropped. Manifests that were deleted since the last run are counted.
2. Links (repository, blob) that no manifest of the repository refers to, and that nobody relied on for the
   grace period, are removed. Untagged manifests go first if asked for.
3. Blobs without a link, past the grace period, leave the `blobs` table; their keys go to `blob_trash`.
4. Trashed keys old enough for every reader to have finished are deleted from storage, and so are stored
   files that no row names (left by a crash between "bytes durable" and "metadata committed"). Blobs of pushes
   that the database has lost stay, until `fsck --repair` or the end of their receipts.

A push or mount that relies on a blob moves `touched_at` forward. The DELETEs of `garbage` ask for an old
`touched_at`; PostgreSQL evaluates that condition again after waiting for the other transaction's row lock,
and SQLite has one writer at a time, so a blob that is being relied on is never removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, delete, select

from seawall.infra import leases
from seawall.infra.db import Database, fence
from seawall.infra.storage import BlobStorage
from seawall.kernel import progress
from seawall.registry import garbage, receipts
from seawall.registry.garbage import BATCH, GcReport, Gone
from seawall.registry.stored import digest_of_key
from seawall.registry.tables import blob_trash, uploads

log: Any = structlog.get_logger("seawall.gc")

# Questions to storage at a time.
_AT_ONCE = 16
Say = Callable[[str], Awaitable[None]]
_ORPHAN_SECONDS = 300
# By how much the clocks of two hosts may differ.
_CLOCKS_SECONDS = 3600.0
# No request writes one object for so long.
_BROKEN_SECONDS = 86400.0


async def _silent(_line: str) -> None:
    """Say nothing."""


async def collect(
    db: Database,
    storage: BlobStorage,
    *,
    grace_seconds: float,
    upload_seconds: float,
    reader_seconds: float = 900,
    delete_untagged: bool = False,
    dry_run: bool = False,
    say: Say = _silent,
) -> GcReport:
    """Run one collection.

    `grace_seconds`: age below which nothing unreferenced is touched. `reader_seconds`: how long trashed
    bytes stay for readers that already found them. `dry_run` counts what steps 2 and 3 would remove and
    changes nothing. `say` gets a line for each manifest and blob that goes.
    """
    report = GcReport()
    now = time.time()
    cutoff = now - grace_seconds
    if dry_run:
        await db.read(lambda c: garbage.count(c, report, cutoff, untagged=delete_untagged))
        return report
    # Files are swept too, and those of a standby are its follower's.
    await db.read(fence.check)
    await _drop_uploads(db, storage, report, now - upload_seconds)
    while taken := await db.write(garbage.take_deleted):
        report.deleted_manifests += len(taken)
        await _tell(report, taken, say)
    if delete_untagged:
        # Until there is none: what belongs to a manifest that has gone goes in the next round.
        while await _delete_untagged(db, cutoff, report, say):
            pass
    link: tuple[int, str] | None = (0, "")
    while link is not None:
        done, link = await db.write(lambda c, after=link: garbage.delete_links(c, cutoff, after))  # type: ignore[misc]
        report.links += done
    blob: str | None = ""
    while blob is not None:
        gone, blob = await db.write(lambda c, after=blob: garbage.trash_blobs(c, cutoff, after))  # type: ignore[misc]
        report.blobs += len(gone)
        progress.step("blobs without a use", report.blobs)
        await _tell(report, gone, say)
    await _empty_trash(db, storage, report, now - reader_seconds)
    await receipts.purge(db, storage, now)
    losses = [loss async for loss in receipts.lost(db, storage)]
    if losses:
        report.lost = len(losses)
        log.error("acknowledged pushes are lost", pushes=report.lost)
        await say(f"the database lacks {report.lost} acknowledged pushes: run seawall fsck --repair")
    spared = receipts.needed(losses)
    # A file without a row may belong to a push that is between its two commits: however short a grace the
    # operator chose, such a push gets its minutes.
    sweep_before = now - max(grace_seconds, reader_seconds, _ORPHAN_SECONDS)
    await _sweep_orphans(db, storage, report, sweep_before, spared)
    report.broken_writes = await storage.drop_broken(now - _BROKEN_SECONDS)
    return report


async def _tell(report: GcReport, gone: Gone, say: Say) -> None:
    for digest, size in gone:
        report.purged_bytes += size
        await say(f"delete blob from storage: {digest}")


async def _delete_untagged(db: Database, cutoff: float, report: GcReport, say: Say) -> bool:
    """Look at every manifest once; whether some had to go."""
    before = report.manifests
    after: int | None = 0
    while after is not None:
        untagged, after = await db.write(
            lambda c, after=after: garbage.delete_untagged(c, cutoff, after)  # type: ignore[misc]
        )
        report.manifests += len(untagged)
        progress.step("untagged manifests", report.manifests)
        for name, digest, _ in untagged:
            await say(f"delete the untagged artifact: {name}@{digest}")
        await _tell(report, [(digest, size) for _, digest, size in untagged], say)
    return report.manifests > before


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
    # A row was changed after the bytes came, by a host whose clock may be another one.
    report.uploads += await storage.drop_resting(cutoff - _CLOCKS_SECONDS)


async def _empty_trash(db: Database, storage: BlobStorage, report: GcReport, cutoff: float) -> None:
    keys = await db.read(lambda c: garbage.deletable(c, cutoff))
    for part in garbage.parts(keys):
        for start in range(0, len(part), _AT_ONCE):
            sizes = await asyncio.gather(*(storage.size(key) for key in part[start : start + _AT_ONCE]))
            report.freed_bytes += sum(size or 0 for size in sizes)
        await storage.delete_all(part)
        report.deleted_files += len(part)

        def forget(connection: Connection, part: Sequence[str] = part) -> None:
            connection.execute(delete(blob_trash).where(blob_trash.c.storage_key.in_(part)))

        await db.write(forget)


async def _sweep_orphans(
    db: Database, storage: BlobStorage, report: GcReport, cutoff: float, spared: set[str]
) -> None:
    batch: dict[str, int] = {}
    looked = 0
    async for item in storage.list():
        looked += 1
        progress.step("stored files looked at", looked)
        kept = item.key.startswith(receipts.PREFIX) or digest_of_key(item.key) in spared
        if item.modified < cutoff and not kept:
            batch[item.key] = item.size
        if len(batch) >= BATCH:
            await _sweep_batch(db, storage, report, batch)
            batch = {}
    if batch:
        await _sweep_batch(db, storage, report, batch)


async def _sweep_batch(db: Database, storage: BlobStorage, report: GcReport, batch: dict[str, int]) -> None:
    def named(connection: Connection) -> set[str]:
        keys = list(batch)
        trash = select(blob_trash.c.storage_key).where(blob_trash.c.storage_key.in_(keys))
        return garbage.keys_in_use(connection, keys) | set(connection.execute(trash).scalars())

    orphans = sorted(set(batch) - await db.read(named))
    await storage.delete_all(orphans)
    report.orphan_files += len(orphans)
    report.freed_bytes += sum(batch[key] for key in orphans)


__all__ = ["GcReport", "collect"]
