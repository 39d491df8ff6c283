"""Where a layer is: the artifacts of all projects that have it, and the images that are built on another one.

An image that an index names is found as a part of that index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, union_all

from seawall.access.access import allows, projects_with_roles
from seawall.access.principal import Principal
from seawall.access.views import projects
from seawall.infra.db.listing import Page
from seawall.registry.artifacts import Artifact, artifacts
from seawall.registry.tables import (
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
)

# Images of one answer about a base, and manifests and their bytes that are read for it.
MOST = 1000
_MOST_READ = 20_000
_MOST_BYTES = 256 << 20
_BATCH = 500
# A manifest has some megabytes at most, so few of the largest are in memory at a time.
_BYTES_AT_ONCE = 8 << 20


class _Layer(msgspec.Struct):
    digest: str


class _Image(msgspec.Struct):
    """What is read of a manifest. Its annotations may be large."""

    layers: list[_Layer] | None = None


_decoder = msgspec.json.Decoder(_Image)


@dataclass(slots=True)
class _Reading:
    """How much is read for one answer."""

    manifests: int = 0
    bytes: int = 0
    # Something was left unread.
    over: bool = False

    def may(self, size: int) -> bool:
        """Whether one more manifest may be read, which then counts."""
        self.manifests += 1
        self.bytes += size
        self.over = self.over or self.manifests > _MOST_READ or self.bytes > _MOST_BYTES
        return not self.over


@dataclass(frozen=True, slots=True)
class Holder:
    """An artifact, and which images of it hold the layers when it is an index: digest and platform."""

    artifact: Artifact
    images: list[tuple[str, dict[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class Holders:
    """A page of them, newest push first. `total` is -1 where there are more than were looked at."""

    total: int
    rows: list[Holder]


def holders(connection: Connection, principal: Principal, digest: str, page: Page) -> Holders:
    """The artifacts with that layer (or other blob) in projects whose artifacts the caller may list."""
    seen = _projects_with(connection, principal, digest)
    return _shown(connection, _with_blob(digest, seen), page, complete=True)


def built_on(connection: Connection, principal: Principal, base: Artifact, page: Page) -> Holders:
    """The images whose first layers are all the layers of `base`, where the caller may list artifacts.

    Of an index each image is such a base. The base and its copies are left out.
    """
    reading = _Reading()
    bases = _layers_of(connection, base, reading)
    found: set[int] = set()
    for layers in {item for item in bases.values() if item}:
        seen = _projects_with(connection, principal, layers[-1])
        for identifier, digest, own in _candidates(connection, layers[-1], seen, reading):
            if digest in bases or own[: len(layers)] != layers or identifier in found:
                continue
            if len(found) >= MOST:
                reading.over = True
                break
            found.add(identifier)
    chosen = select(*_IMAGE).where(manifests.c.id.in_(found))
    return _shown(connection, chosen, page, complete=not reading.over)


_IMAGE = (manifests.c.id, manifests.c.repository_id, manifests.c.digest, manifests.c.listed)


def _projects_with(connection: Connection, principal: Principal, digest: str) -> list[int]:
    """Ids of the projects that have the blob and whose artifacts the caller may list."""
    query = (
        select(projects.c.name)
        .distinct()
        .join(repositories, repositories.c.project_id == projects.c.id)
        .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
        .where(repository_blobs.c.digest == digest)
    )
    asked = (principal, frozenset(connection.execute(query).scalars()))
    found = projects_with_roles(connection, [asked])[asked].values()
    return [
        project.id
        for project, roles in found
        if allows(principal, project, lambda own=roles: own, "artifact", "list")  # type: ignore[misc]
    ]


def _with_blob(digest: str, seen: Sequence[int]) -> Select[Any]:
    """A query of the manifests that name the blob."""
    held = (
        select(repository_blobs.c.repository_id)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(repository_blobs.c.digest == digest, repositories.c.project_id.in_(seen))
    )
    return (
        select(*_IMAGE)
        .join(manifest_references, manifest_references.c.manifest_id == manifests.c.id)
        .where(
            manifest_references.c.repository_id.in_(held),
            manifest_references.c.digest == digest,
            manifest_references.c.kind == "blob",
        )
    )


# A manifest: its id, digest and layers.
_Read = tuple[int, str, tuple[str, ...]]


def _candidates(
    connection: Connection, digest: str, seen: Sequence[int], reading: _Reading
) -> Iterator[_Read]:
    """The manifests that name the blob, newest first, read in batches."""
    last: int | None = None
    while not reading.over:
        query = _with_blob(digest, seen).order_by(manifests.c.id.desc()).limit(_BATCH)
        if last is not None:
            query = query.where(manifests.c.id < last)
        ids = [row.id for row in connection.execute(query)]
        yield from _read(connection, ids, reading)
        if len(ids) < _BATCH:
            return
        last = ids[-1]


def _read(connection: Connection, ids: Sequence[int], reading: _Reading) -> Iterator[_Read]:
    """The manifests with these ids, in this order, until enough is read."""
    query = select(manifest_payloads.c.manifest_id, func.length(manifest_payloads.c.payload))
    rows = connection.execute(query.where(manifest_payloads.c.manifest_id.in_(ids)))
    sizes = {row[0]: int(row[1]) for row in rows}
    part: list[int] = []
    size = 0
    # What was deleted a moment ago is in none of the later answers.
    for identifier in (key for key in ids if key in sizes):
        if part and size + sizes[identifier] > _BYTES_AT_ONCE:
            yield from _part(connection, part)
            part, size = [], 0
        if not reading.may(sizes[identifier]):
            break
        part.append(identifier)
        size += sizes[identifier]
    yield from _part(connection, part)


def _part(connection: Connection, ids: Sequence[int]) -> Iterator[_Read]:
    query = (
        select(manifests.c.id, manifests.c.digest, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .where(manifests.c.id.in_(ids))
    )
    rows = {row.id: row for row in connection.execute(query)}
    for identifier in ids:
        row = rows.get(identifier)
        if row is None:
            continue
        image = _decoder.decode(bytes(row.payload))
        yield identifier, row.digest, tuple(item.digest for item in image.layers or ())


def _layers_of(connection: Connection, base: Artifact, reading: _Reading) -> dict[str, tuple[str, ...]]:
    """digest -> layers of the image, or of each image that the index names."""
    ids = [base.id]
    if base.is_index:
        named = select(manifest_references.c.digest).where(
            manifest_references.c.manifest_id == base.id, manifest_references.c.kind == "manifest"
        )
        query = select(manifests.c.id).where(
            manifests.c.repository_id == base.repository_id,
            manifests.c.digest.in_(named),
            manifests.c.kind == "IMAGE",
        )
        ids = list(connection.execute(query).scalars())
    return {digest: layers for _, digest, layers in _read(connection, ids, reading)}


def _shown(connection: Connection, chosen: Select[Any], page: Page, *, complete: bool) -> Holders:
    """The artifacts that lists show for these images, with their images."""
    # PostgreSQL would write each as a table of its own, of a popular layer to disk.
    inline = {"dialect": "postgresql"}
    image = chosen.cte("image").prefix_with("NOT MATERIALIZED", **inline)
    parent = manifest_references.alias("parent")
    named: ColumnElement[bool] = (
        (parent.c.repository_id == image.c.repository_id)
        & (parent.c.digest == image.c.digest)
        & (parent.c.kind == "manifest")
    )
    # Apart, as PostgreSQL takes an OR with a query for very dear.
    itself = select(image.c.id.label("shown"), image.c.id.label("image"))
    listed = itself.where(image.c.listed.is_(True))
    alone = itself.where(image.c.listed.is_(False), ~exists().where(named))
    inside = select(parent.c.manifest_id.label("shown"), image.c.id.label("image")).join(image, named)
    pairs = union_all(listed, alone, inside).cte("pairs").prefix_with("NOT MATERIALIZED", **inline)
    shown = select(pairs.c.shown).distinct().subquery()
    total = connection.execute(select(func.count()).select_from(shown)).scalar_one()
    query = artifacts(brief=True).join(shown, shown.c.shown == manifests.c.id)
    query = query.order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
    rows = [Artifact(*row) for row in connection.execute(page.slice(query))]
    parts: dict[int, list[int]] = {}
    wanted = select(pairs).where(pairs.c.shown.in_([row.id for row in rows]), pairs.c.shown != pairs.c.image)
    for shown_id, image_id in connection.execute(wanted):
        parts.setdefault(shown_id, []).append(image_id)
    return Holders(
        int(total) if complete else -1,
        [Holder(row, _named_images(connection, row, parts.get(row.id, []))) for row in rows],
    )


def _named_images(
    connection: Connection, shown: Artifact, ids: Sequence[int]
) -> list[tuple[str, dict[str, Any] | None]]:
    """The images with these ids as their index describes them, in its order."""
    if not ids:
        return []
    digests = set(connection.execute(select(manifests.c.digest).where(manifests.c.id.in_(ids))).scalars())
    payload = connection.execute(
        select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == shown.id)
    ).scalar()
    listed = msgspec.json.decode(bytes(payload or b"{}")).get("manifests") or []
    return [(item["digest"], item.get("platform")) for item in listed if item["digest"] in digests]
