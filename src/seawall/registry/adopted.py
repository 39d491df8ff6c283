"""Content of another registry, adopted: manifests and tags whose blobs stay in a Distribution's tree.

Whole repositories are written in bulk and without hooks: nothing here is an event, and no rule refuses what
the other registry has acknowledged. `accounting.refresh` counts the project afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from seawall.infra.db.dialect import upsert, upsert_many
from seawall.infra.storage.tree import tree_key
from seawall.registry import index
from seawall.registry.manifest import Manifest
from seawall.registry.tables import (
    adopted_tree,
    blob_trash,
    blobs,
    labels,
    manifest_labels,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
)

_BATCH = 500


@dataclass(frozen=True, slots=True)
class AdoptedManifest:
    """A manifest to be written; times in Unix seconds.

    `names`: its tags, which may say what it belongs to. `accessory`: (type, digest of the subject) as the
    other registry has it, for a manifest that does not say so itself.
    """

    digest: str
    payload: bytes
    parsed: Manifest
    pushed_at: float
    pulled_at: float | None
    names: tuple[str, ...] = ()
    accessory: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AdoptedTag:
    """A tag to be set on a manifest of the repository."""

    name: str
    digest: str
    pushed_at: float
    pulled_at: float | None


def is_released(connection: Connection) -> bool:
    """Whether the collector may delete blobs of an adopted tree."""
    return connection.execute(select(adopted_tree.c.released_at)).scalar() is not None


def mark_tree(connection: Connection, *, released: bool) -> None:
    """Note that a tree was adopted, or that the other registry serves it no longer."""
    now = time.time()
    row = {"id": 1, "adopted_at": now, "released_at": now if released else None}
    connection.execute(upsert(connection, adopted_tree, row, "id", ["released_at"]))


def known(connection: Connection, repository_id: int) -> dict[str, tuple[int, float]]:
    """Digest -> (id, time of its last push) of the repository's manifests."""
    query = select(manifests.c.digest, manifests.c.id, manifests.c.pushed_at)
    rows = connection.execute(query.where(manifests.c.repository_id == repository_id))
    return {row[0]: (row[1], row[2]) for row in rows}


def tags_of(connection: Connection, repository_id: int) -> dict[str, str]:
    """Tag -> digest."""
    query = select(tags.c.name, manifests.c.digest).join(manifests, manifests.c.id == tags.c.manifest_id)
    rows = connection.execute(query.where(tags.c.repository_id == repository_id))
    return {row[0]: row[1] for row in rows}


def ensure(
    connection: Connection, project_id: int, name: str, description: str, created_at: float, pulls: int
) -> int:
    """The id of the repository, made if missing; its description and number of pulls are at least these."""
    row = {
        "project_id": project_id,
        "name": name,
        "description": description,
        "created_at": created_at,
        "updated_at": created_at,
        "pull_count": pulls,
    }
    connection.execute(upsert(connection, repositories, row, "name"))
    mine = repositories.c.name == name
    found = connection.execute(
        select(repositories.c.id, repositories.c.pull_count, repositories.c.description).where(mine)
    ).one()
    changes = {"pull_count": max(pulls, found[1]), "description": found[2] or description}
    connection.execute(update(repositories).where(mine).values(changes))
    return int(found[0])


def write_manifests(
    connection: Connection,
    repository_id: int,
    project_id: int,
    items: Iterable[AdoptedManifest],
    sizes: Mapping[str, int],
) -> int:
    """Write manifests that the repository lacks, children before their indexes; returns how many.

    `sizes`: the size of each of their blobs that is in the tree. `finish` must follow in the transaction.
    """
    there = known(connection, repository_id)
    wanted = {item.digest: item for item in items if item.digest not in there}
    if not wanted:
        return 0
    _link(connection, repository_id, wanted.values(), sizes)
    totals = _totals(connection, repository_id, wanted.values())
    everything = there.keys() | wanted.keys()
    children = {child for item in wanted.values() for child in item.parsed.manifests}
    rows = []
    for item in wanted.values():
        parsed = item.parsed
        attached = index.accessory(parsed, item.digest, item.names) or item.accessory
        total = len(item.payload) + sum(parsed.blobs.values())
        total += sum(totals.get(child, 0) for child in parsed.manifests)
        totals[item.digest] = total
        rows.append(
            {
                "repository_id": repository_id,
                "project_id": project_id,
                "digest": item.digest,
                "media_type": parsed.media_type,
                "artifact_type": parsed.artifact_type,
                "config_media_type": parsed.config_media_type,
                "subject_digest": parsed.subject,
                "size": len(item.payload),
                "annotations": parsed.annotations,
                "pushed_at": item.pushed_at,
                "pulled_at": item.pulled_at,
                "kind": index.kind_of(parsed.media_type, parsed.artifact_type, parsed.config_media_type),
                "accessory_type": attached[0] if attached else None,
                "accessory_of": attached[1] if attached else None,
                "total_size": total,
                # What `finish` would say, so that it need not write every row again.
                "listed": (bool(item.names) or item.digest not in children)
                and (attached is None or attached[1] not in everything),
            }
        )
    returned = insert(manifests).returning(manifests.c.digest, manifests.c.id)
    ids = {row[0]: row[1] for row in connection.execute(returned, rows)}
    connection.execute(
        insert(manifest_payloads).returning(manifest_payloads.c.manifest_id),
        [{"manifest_id": ids[item.digest], "payload": item.payload} for item in wanted.values()],
    )
    references = [
        {"manifest_id": ids[item.digest], "digest": digest, "kind": kind, "repository_id": repository_id}
        for item in wanted.values()
        for digest, kind in _named(item.parsed, sizes, everything)
    ]
    if references:
        connection.execute(
            insert(manifest_references).returning(manifest_references.c.manifest_id), references
        )
    return len(rows)


def _named(parsed: Manifest, sizes: Mapping[str, int], children: Collection[str]) -> list[tuple[str, str]]:
    found = [(digest, "blob") for digest in sorted({*parsed.blobs, *parsed.optional}) if digest in sizes]
    return found + [(digest, "manifest") for digest in sorted(parsed.manifests) if digest in children]


def _link(
    connection: Connection, repository_id: int, items: Collection[AdoptedManifest], sizes: Mapping[str, int]
) -> None:
    """Rows of the blobs that these manifests name, and their links to the repository."""
    now = time.time()
    named = {digest for item in items for digest in (*item.parsed.blobs, *item.parsed.optional)}
    digests = sorted(named & sizes.keys())
    if not digests:
        return
    rows = [
        {
            "digest": digest,
            "size": sizes[digest],
            "storage_key": tree_key(digest),
            "created_at": now,
            "touched_at": now,
        }
        for digest in digests
    ]
    connection.execute(upsert_many(connection, blobs, "digest", ["touched_at"]), rows)
    links = [{"repository_id": repository_id, "digest": digest, "touched_at": now} for digest in digests]
    key = ["repository_id", "digest"]
    connection.execute(upsert_many(connection, repository_blobs, key, ["touched_at"]), links)
    for start in range(0, len(digests), _BATCH):
        keys = [tree_key(digest) for digest in digests[start : start + _BATCH]]
        connection.execute(delete(blob_trash).where(blob_trash.c.storage_key.in_(keys)))


def _totals(connection: Connection, repository_id: int, items: Collection[AdoptedManifest]) -> dict[str, int]:
    """Sizes with everything named, of children that are there already."""
    children = sorted({child for item in items for child in item.parsed.manifests})
    found: dict[str, int] = {}
    for start in range(0, len(children), _BATCH):
        query = select(manifests.c.digest, manifests.c.total_size).where(
            manifests.c.repository_id == repository_id,
            manifests.c.digest.in_(children[start : start + _BATCH]),
        )
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def set_tags(connection: Connection, repository_id: int, wanted: Collection[AdoptedTag]) -> None:
    """Set tags on manifests of the repository; those of unknown manifests are left out."""
    if not wanted:
        return
    there = known(connection, repository_id)
    rows = {
        tag.name: {
            "repository_id": repository_id,
            "name": tag.name,
            "manifest_id": there[tag.digest][0],
            "pushed_at": tag.pushed_at,
            "pulled_at": tag.pulled_at,
        }
        for tag in wanted
        if tag.digest in there
    }
    if rows:
        changes = ["manifest_id", "pushed_at", "pulled_at"]
        connection.execute(
            upsert_many(connection, tags, ["repository_id", "name"], changes), list(rows.values())
        )


def set_pulled(connection: Connection, repository_id: int, times: Mapping[str, float]) -> None:
    """Digest -> when it was last pulled, where that is later than what is known."""
    values = [{"b_digest": digest, "b_at": at} for digest, at in times.items()]
    if values:
        connection.execute(
            update(manifests)
            .where(
                manifests.c.repository_id == repository_id,
                manifests.c.digest == bindparam("b_digest"),
                (manifests.c.pulled_at.is_(None)) | (manifests.c.pulled_at < bindparam("b_at")),
            )
            .values(pulled_at=bindparam("b_at")),
            values,
        )


def remove_tags(connection: Connection, repository_id: int, names: Collection[str]) -> None:
    """Take tags away."""
    wanted = sorted(names)
    for start in range(0, len(wanted), _BATCH):
        connection.execute(
            delete(tags).where(
                tags.c.repository_id == repository_id, tags.c.name.in_(wanted[start : start + _BATCH])
            )
        )


def removable(connection: Connection, repository_id: int, digests: Collection[str]) -> set[str]:
    """Those of `digests` that no tag has, and on which nothing depends that is not among them."""
    left = set(digests)
    tagged = select(manifests.c.digest).join(tags, tags.c.manifest_id == manifests.c.id)
    left -= set(connection.execute(tagged.where(manifests.c.repository_id == repository_id)).scalars())
    named = select(manifest_references.c.digest, manifests.c.digest).join(
        manifests, manifests.c.id == manifest_references.c.manifest_id
    )
    named = named.where(
        manifest_references.c.repository_id == repository_id, manifest_references.c.kind == "manifest"
    )
    attached = select(manifests.c.accessory_of, manifests.c.digest).where(
        manifests.c.repository_id == repository_id, manifests.c.accessory_of.is_not(None)
    )
    dependent = [tuple(row) for query in (named, attached) for row in connection.execute(query)]
    while kept := {needed for needed, by in dependent if needed in left and by not in left}:
        left -= kept
    return left


def remove_manifests(connection: Connection, repository_id: int, digests: Collection[str]) -> None:
    """Delete manifests; their blobs are the collector's. `finish` must follow in the transaction."""
    wanted = sorted(digests)
    for start in range(0, len(wanted), _BATCH):
        connection.execute(
            delete(manifests).where(
                manifests.c.repository_id == repository_id,
                manifests.c.digest.in_(wanted[start : start + _BATCH]),
            )
        )


def set_labels(connection: Connection, repository_id: int, wanted: Mapping[str, Collection[int]]) -> None:
    """Digest -> ids of labels to be added to it."""
    if not wanted:
        return
    there = known(connection, repository_id)
    # A label may have been deleted here.
    exist = set(connection.execute(select(labels.c.id)).scalars())
    for digest, ids in wanted.items():
        for label in sorted(set(ids) & exist):
            if digest in there:
                row = {"manifest_id": there[digest][0], "label_id": label, "created_at": time.time()}
                connection.execute(upsert(connection, manifest_labels, row, ["manifest_id", "label_id"]))


def remove_labels(connection: Connection, repository_id: int, gone: Mapping[str, Collection[int]]) -> None:
    """Digest -> ids of labels to be taken off it."""
    if not gone:
        return
    there = known(connection, repository_id)
    for digest, ids in gone.items():
        if digest in there:
            connection.execute(
                delete(manifest_labels).where(
                    manifest_labels.c.manifest_id == there[digest][0], manifest_labels.c.label_id.in_(ids)
                )
            )


def finish(connection: Connection, repository_id: int, pushed_at: float | None) -> int:
    """Make what lists show right; returns how many manifests are left.

    `pushed_at`: when the repository was last pushed to, if later than is known.
    """
    index.recount(connection, repository_id)
    mine = repositories.c.id == repository_id
    if pushed_at is not None:
        later = repositories.c.pushed_at.is_(None) | (repositories.c.pushed_at < pushed_at)
        connection.execute(
            update(repositories).where(mine, later).values(pushed_at=pushed_at, updated_at=pushed_at)
        )
    return len(known(connection, repository_id))


def remove_empty(connection: Connection, repository_id: int) -> None:
    """Delete a repository without manifests, with its links."""
    if not known(connection, repository_id):
        connection.execute(delete(repositories).where(repositories.c.id == repository_id))


def name_of(connection: Connection, repository_id: int) -> tuple[str, int] | None:
    """(name, id of the project) of a repository."""
    query = select(repositories.c.name, repositories.c.project_id).where(repositories.c.id == repository_id)
    row = connection.execute(query).first()
    return (row[0], row[1]) if row else None


def all_repositories(connection: Connection) -> list[tuple[int, str, int]]:
    """(id, name, id of the project) of every repository, by name."""
    query = select(repositories.c.id, repositories.c.name, repositories.c.project_id)
    return [(row[0], row[1], row[2]) for row in connection.execute(query.order_by(repositories.c.name))]
