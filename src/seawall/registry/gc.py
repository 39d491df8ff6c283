"""Online garbage collection: no read-only window, safe during pushes, mounts and deletes.

Four steps, each made of short transactions:

1. Upload sessions idle too long are dropped. Manifests that were deleted since the last run are counted.
2. Links (repository, blob) that no manifest of the repository refers to, and that nobody relied on for the
   grace period, are removed. Untagged manifests go first if asked for.
3. Blobs without a link, past the grace period, leave the `blobs` table; their keys go to `blob_trash`.
4. Trashed keys old enough for every reader to have finished are deleted from storage, and so are stored
   files that no row names (left by a crash between "bytes durable" and "metadata committed"). Blobs of pushes
   that the database has lost stay, until `fsck --repair` or the end of their receipts.

A push or mount that relies on a blob moves `touched_at` forward. The DELETEs below ask for an old
`touched_at`; PostgreSQL evaluates that condition again after waiting for the other transaction's row lock,
and SQLite has one writer at a time, so a blob that is being relied on is never removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    false,
    func,
    not_,
    select,
    true,
    tuple_,
)

from seawall.infra import leases
from seawall.infra.db import Database, fence
from seawall.infra.db.dialect import upsert_many
from seawall.infra.storage import BlobStorage
from seawall.infra.storage.tree import PREFIX, digest_of_tree_key
from seawall.kernel import progress
from seawall.registry import accounting, adopted, index, receipts
from seawall.registry.belongings import is_needed
from seawall.registry.incoming import incoming
from seawall.registry.repositories import lock
from seawall.registry.stored import digest_of_key
from seawall.registry.tables import (
    HAS_UPLOAD_KEY,
    blob_trash,
    blobs,
    manifest_references,
    manifest_trash,
    manifests,
    repositories,
    repository_blobs,
    uploads,
)

log: Any = structlog.get_logger("seawall.gc")

_BATCH = 500
# How many rows a step looks at. Each goes on where the last one stopped: a run looks at every row once.
_LOOK = 5000
# Questions to storage at a time.
_AT_ONCE = 16
Say = Callable[[str], Awaitable[None]]
# (digest, size in bytes) of what goes.
_Gone = list[tuple[str, int]]
_ORPHAN_SECONDS = 300
# No request writes one object for so long.
_BROKEN_SECONDS = 86400.0


@dataclass(slots=True)
class GcReport:
    """What one run did: counts and bytes.

    `lost` pushes are those that were acknowledged and that the database lacks (see `registry.receipts`).
    `manifests` are untagged ones that the run deleted, `deleted_manifests` those that others have deleted
    since the last run. `purged_bytes` is the size of all that has left the registry; `freed_bytes` is what
    storage got back during the run, for blobs from an earlier run.
    """

    uploads: int = 0
    manifests: int = 0
    deleted_manifests: int = 0
    links: int = 0
    blobs: int = 0
    lost: int = 0
    deleted_files: int = 0
    orphan_files: int = 0
    broken_writes: int = 0
    freed_bytes: int = 0
    purged_bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts as a JSON-able mapping."""
        return asdict(self)


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
        await _dry_run(db, report, cutoff, delete_untagged)
        return report
    # Files are swept too, and those of a standby are its follower's.
    await db.read(fence.check)
    await _drop_uploads(db, storage, report, now - upload_seconds)
    while taken := await db.write(_take_deleted):
        report.deleted_manifests += len(taken)
        await _tell(report, taken, say)
    if delete_untagged:
        # Until there is none: what belongs to a manifest that has gone goes in the next round.
        while untagged := await db.write(lambda c: _delete_untagged(c, cutoff)):
            report.manifests += len(untagged)
            progress.step("untagged manifests", report.manifests)
            for name, digest, _ in untagged:
                await say(f"delete the untagged artifact: {name}@{digest}")
            await _tell(report, [(digest, size) for _, digest, size in untagged], say)
    link: tuple[int, str] | None = (0, "")
    while link is not None:
        done, link = await db.write(lambda c, after=link: _delete_links(c, cutoff, after))  # type: ignore[misc]
        report.links += done
    blob: str | None = ""
    while blob is not None:
        gone, blob = await db.write(lambda c, after=blob: _trash_blobs(c, cutoff, after))  # type: ignore[misc]
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


async def _tell(report: GcReport, gone: _Gone, say: Say) -> None:
    for digest, size in gone:
        report.purged_bytes += size
        await say(f"delete blob from storage: {digest}")


def _take_deleted(connection: Connection) -> _Gone:
    ids = list(
        connection.execute(select(manifest_trash.c.id).order_by(manifest_trash.c.id).limit(_BATCH)).scalars()
    )
    if not ids:
        return []
    taken = delete(manifest_trash).where(manifest_trash.c.id.in_(ids))
    rows = connection.execute(taken.returning(manifest_trash.c.digest, manifest_trash.c.size)).all()
    return [(row[0], row[1]) for row in rows]


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


def _untagged(cutoff: float) -> Select[Any]:
    """(manifest, project, repository, its name) of the untagged manifests that nothing needs."""
    return (
        select(manifests.c.id, repositories.c.project_id, repositories.c.id, repositories.c.name)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            manifests.c.pushed_at < cutoff,
            ~is_needed(),
            ~incoming(repositories.c.name),
        )
    )


def _delete_untagged(connection: Connection, cutoff: float) -> list[tuple[str, str, int]]:
    """Repository, digest and size of each that is gone."""
    found = _untagged(cutoff).limit(_BATCH)
    rows = connection.execute(found).all()
    if not rows:
        return []
    lock(connection, (row[2] for row in rows))
    # Asked again under the repositories' locks: now no push can add a tag or a parent.
    candidates = [row[0] for row in rows]
    ids = [row[0] for row in connection.execute(found.where(manifests.c.id.in_(candidates)))]
    below = {item: index.children(connection, item) for item in ids}
    gone = connection.execute(
        delete(manifests)
        .where(manifests.c.id.in_(ids))
        .returning(
            manifests.c.id,
            manifests.c.repository_id,
            manifests.c.digest,
            manifests.c.listed,
            manifests.c.size,
        )
    ).all()
    projects_of = {row[0]: row[1] for row in rows}
    names = {row[2]: row[3] for row in rows}
    held: dict[int, list[str]] = {}
    for row in gone:
        held.setdefault(projects_of[row[0]], []).append(row[2])
    accounting.release_all(connection, held)
    for repository_id in sorted({row[1] for row in gone}):
        mine = [row for row in gone if row[1] == repository_id]
        receipts.note(connection, names[repository_id], [row[2] for row in mine])
        affected = [item for row in mine for item in below[row[0]]]
        affected += index.accessories(connection, repository_id, [row[2] for row in mine])
        index.relist(connection, repository_id, affected, removed=sum(row[3] for row in mine))
    return [(names[row[1]], row[2], row[4]) for row in gone]


def _unreferenced_links(cutoff: float) -> list[object]:
    return [
        repository_blobs.c.touched_at < cutoff,
        _none(
            manifest_references.c.digest,
            manifest_references.c.repository_id == repository_blobs.c.repository_id,
            manifest_references.c.digest == repository_blobs.c.digest,
        ),
    ]


def _none(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether no row meets the conditions; `column` is one of its table that is never NULL.

    Looked up row by row: of NOT EXISTS a planner makes a join, for which it may read the whole table.
    """
    return select(column).where(*conditions).limit(1).scalar_subquery().is_(None)


def _delete_links(
    connection: Connection, cutoff: float, after: tuple[int, str]
) -> tuple[int, tuple[int, str] | None]:
    """Delete the unused of the next links; (how many there were, where to go on; None: that was the end)."""
    key = tuple_(repository_blobs.c.repository_id, repository_blobs.c.digest)
    order = (repository_blobs.c.repository_id, repository_blobs.c.digest)
    looked = select(*order).where(key > tuple_(*after)).order_by(*order)
    end = connection.execute(looked.offset(_LOOK - 1).limit(1)).first()
    here = [key > tuple_(*after)] + ([key <= tuple_(*end)] if end is not None else [])
    rows = connection.execute(
        select(repository_blobs.c.repository_id, repository_blobs.c.digest, repositories.c.project_id)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(*here, *_unreferenced_links(cutoff))  # type: ignore[arg-type]
        .order_by(*order)
        .limit(_BATCH)
        # What a push relies on just now is not garbage, and is not waited for.
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
    if len(rows) == _BATCH:
        return len(rows), (rows[-1][0], rows[-1][1])
    return len(rows), None if end is None else (end[0], end[1])


def _trash_blobs(connection: Connection, cutoff: float, after: str) -> tuple[_Gone, str | None]:
    """Take those of the next blobs out of use that have no link; (what has gone, where to go on).

    None: that was the end.
    """
    looked = select(blobs.c.digest).where(blobs.c.digest > after).order_by(blobs.c.digest)
    end = connection.execute(looked.offset(_LOOK - 1).limit(1)).scalar()
    here = [blobs.c.digest > after] + ([blobs.c.digest <= end] if end is not None else [])
    unlinked = [
        blobs.c.touched_at < cutoff,
        _none(repository_blobs.c.digest, repository_blobs.c.digest == blobs.c.digest),
    ]
    found = select(blobs.c.digest).where(*here, *unlinked).order_by(blobs.c.digest).limit(_BATCH)
    candidates = list(connection.execute(found.with_for_update()).scalars())
    if not candidates:
        return [], end
    gone = connection.execute(
        delete(blobs)
        .where(blobs.c.digest.in_(candidates), *unlinked)
        .returning(blobs.c.storage_key, blobs.c.digest, blobs.c.size)
    ).all()
    now = time.time()
    if gone:
        # A tree's key may be there from before.
        trashed = upsert_many(connection, blob_trash, "storage_key", ["trashed_at"])
        connection.execute(
            trashed, [{"storage_key": key, "trashed_at": now} for key in {row[0] for row in gone}]
        )
    return [(row[1], row[2]) for row in gone], candidates[-1] if len(candidates) == _BATCH else end


def _deletable(connection: Connection, cutoff: float) -> list[str]:
    """Trashed keys whose readers have finished; those of an adopted tree only once it is released."""
    query = select(blob_trash.c.storage_key).where(blob_trash.c.trashed_at <= cutoff)
    if not adopted.is_released(connection):
        query = query.where(~blob_trash.c.storage_key.startswith(PREFIX, autoescape=True))
    keys = list(connection.execute(query).scalars())
    # A tree's key is the same for as long as the blob lies there: it may be a blob's again.
    again: set[str] = set()
    for part in _parts([key for key in keys if key.startswith(PREFIX)]):
        again |= _keys_in_use(connection, part)
    return [key for key in keys if key not in again]


def _keys_in_use(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Those of the keys that blobs have. Most have the digest in them, so that no index of all is needed."""
    digests = {key: digest_of_key(key) or digest_of_tree_key(key) for key in keys}
    named = blobs.c.digest.in_(sorted({digest for digest in digests.values() if digest}))
    found = set(connection.execute(select(blobs.c.storage_key).where(named)).scalars())
    uploaded = [key for key, digest in digests.items() if not digest and key.startswith("upload.")]
    others = [key for key, digest in digests.items() if not digest and not key.startswith("upload.")]
    for keys_, condition in ((uploaded, HAS_UPLOAD_KEY), (others, true())):
        if keys_:
            query = select(blobs.c.storage_key).where(condition, blobs.c.storage_key.in_(keys_))
            found |= set(connection.execute(query).scalars())
    return found & set(keys)


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


async def _empty_trash(db: Database, storage: BlobStorage, report: GcReport, cutoff: float) -> None:
    keys = await db.read(lambda c: _deletable(c, cutoff))
    for part in _parts(keys):
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
        if len(batch) >= _BATCH:
            await _sweep_batch(db, storage, report, batch)
            batch = {}
    if batch:
        await _sweep_batch(db, storage, report, batch)


async def _sweep_batch(db: Database, storage: BlobStorage, report: GcReport, batch: dict[str, int]) -> None:
    def named(connection: Connection) -> set[str]:
        keys = list(batch)
        trash = select(blob_trash.c.storage_key).where(blob_trash.c.storage_key.in_(keys))
        return _keys_in_use(connection, keys) | set(connection.execute(trash).scalars())

    orphans = sorted(set(batch) - await db.read(named))
    await storage.delete_all(orphans)
    report.orphan_files += len(orphans)
    report.freed_bytes += sum(batch[key] for key in orphans)


async def _dry_run(db: Database, report: GcReport, cutoff: float, delete_untagged: bool) -> None:
    def count_garbage(connection: Connection) -> None:
        # Only those that nothing holds now: what belongs to one that goes is not looked through.
        doomed = select(manifests.c.id).where(
            manifests.c.id.in_(select(_untagged(cutoff).subquery().c.id)) if delete_untagged else false()
        )
        held = exists().where(
            manifest_references.c.repository_id == repository_blobs.c.repository_id,
            manifest_references.c.digest == repository_blobs.c.digest,
            manifest_references.c.manifest_id.not_in(doomed),
        )
        unreferenced = (repository_blobs.c.touched_at < cutoff) & ~held
        links = select(func.count()).select_from(repository_blobs).where(unreferenced)
        report.links = connection.execute(links).scalar_one()
        linked = exists().where(repository_blobs.c.digest == blobs.c.digest, not_(unreferenced))
        sizes = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0))
        report.blobs, blob_bytes = connection.execute(sizes.where(blobs.c.touched_at < cutoff, ~linked)).one()
        untagged = select(func.count(), func.coalesce(func.sum(manifests.c.size), 0))
        report.manifests, size = connection.execute(untagged.where(manifests.c.id.in_(doomed))).one()
        trash = select(func.count(), func.coalesce(func.sum(manifest_trash.c.size), 0))
        report.deleted_manifests, deleted = connection.execute(trash).one()
        report.purged_bytes = int(blob_bytes) + int(size) + int(deleted)

    await db.read(count_garbage)
