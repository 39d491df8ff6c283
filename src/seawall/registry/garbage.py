"""Which rows are garbage, and taking them out of use: the statements of a collection (see `registry.gc`).

Each is one short transaction's work. The DELETEs ask for an old `touched_at`, which a push that relies on a
blob moves forward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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

from seawall.infra.db.dialect import upsert_many
from seawall.infra.storage.tree import PREFIX, digest_of_tree_key
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
)

BATCH = 500
# How many rows a step looks at. Each goes on where the last one stopped: a run looks at every row once.
_LOOK = 5000
# (digest, size in bytes) of what goes.
Gone = list[tuple[str, int]]


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


def take_deleted(connection: Connection) -> Gone:
    """Take the records of some manifests that were deleted since the last run; none: there are no more."""
    ids = list(
        connection.execute(select(manifest_trash.c.id).order_by(manifest_trash.c.id).limit(BATCH)).scalars()
    )
    if not ids:
        return []
    taken = delete(manifest_trash).where(manifest_trash.c.id.in_(ids))
    rows = connection.execute(taken.returning(manifest_trash.c.digest, manifest_trash.c.size)).all()
    return [(row[0], row[1]) for row in rows]


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


def delete_untagged(
    connection: Connection, cutoff: float, after: int
) -> tuple[list[tuple[str, str, int]], int | None]:
    """Delete those of the next manifests that have no tag and that nothing needs.

    Repository, digest and size of each that is gone, and where to go on (a manifest's id; None: that was the
    end).
    """
    looked = select(manifests.c.id).where(manifests.c.id > after).order_by(manifests.c.id)
    end = connection.execute(looked.offset(_LOOK - 1).limit(1)).scalar()
    here = [manifests.c.id > after] + ([manifests.c.id <= end] if end is not None else [])
    found = _untagged(cutoff).where(*here).order_by(manifests.c.id).limit(BATCH)
    rows = connection.execute(found).all()
    if len(rows) == BATCH:
        end = rows[-1][0]
    if not rows:
        return [], end
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
    return [(names[row[1]], row[2], row[4]) for row in gone], end


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


def delete_links(
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
        .limit(BATCH)
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
    if len(rows) == BATCH:
        return len(rows), (rows[-1][0], rows[-1][1])
    return len(rows), None if end is None else (end[0], end[1])


def trash_blobs(connection: Connection, cutoff: float, after: str) -> tuple[Gone, str | None]:
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
    found = select(blobs.c.digest).where(*here, *unlinked).order_by(blobs.c.digest).limit(BATCH)
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
    return [(row[1], row[2]) for row in gone], candidates[-1] if len(candidates) == BATCH else end


def deletable(connection: Connection, cutoff: float) -> list[str]:
    """Trashed keys whose readers have finished; those of an adopted tree only once it is released."""
    query = select(blob_trash.c.storage_key).where(blob_trash.c.trashed_at <= cutoff)
    if not adopted.is_released(connection):
        query = query.where(~blob_trash.c.storage_key.startswith(PREFIX, autoescape=True))
    keys = list(connection.execute(query).scalars())
    # A tree's key is the same for as long as the blob lies there: it may be a blob's again.
    again: set[str] = set()
    for part in parts([key for key in keys if key.startswith(PREFIX)]):
        again |= keys_in_use(connection, part)
    return [key for key in keys if key not in again]


def keys_in_use(connection: Connection, keys: Sequence[str]) -> set[str]:
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


def parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """The keys, as many at a time as one transaction takes."""
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def count(connection: Connection, report: GcReport, cutoff: float, *, untagged: bool) -> None:
    """Count what a run would remove, and change nothing."""
    # Only those that nothing holds now: what belongs to one that goes is not looked through.
    doomed = select(manifests.c.id).where(
        manifests.c.id.in_(select(_untagged(cutoff).subquery().c.id)) if untagged else false()
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
    manifests_ = select(func.count(), func.coalesce(func.sum(manifests.c.size), 0))
    report.manifests, size = connection.execute(manifests_.where(manifests.c.id.in_(doomed))).one()
    trash = select(func.count(), func.coalesce(func.sum(manifest_trash.c.size), 0))
    report.deleted_manifests, deleted = connection.execute(trash).one()
    report.purged_bytes = int(blob_bytes) + int(size) + int(deleted)
