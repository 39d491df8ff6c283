"""Queries of artifacts, and of what belongs to a page of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Select,
    and_,
    case,
    func,
    select,
)

from seawall.access.views import projects
from seawall.registry.artifacts.model import Artifact, Label, Reference, Tag
from seawall.registry.manifest import names_manifest
from seawall.registry.tables import (
    REPOSITORY_EXISTS,
    labels,
    manifest_labels,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    tags,
)

NEWEST_FIRST = (manifests.c.pushed_at.desc(), manifests.c.id.desc())

_COLUMNS = (
    manifests.c.id,
    manifests.c.repository_id,
    repositories.c.name,
    repositories.c.project_id,
    manifests.c.digest,
    manifests.c.media_type,
    manifests.c.artifact_type,
    manifests.c.config_media_type,
    manifests.c.kind,
    manifests.c.total_size,
    manifests.c.pushed_at,
    manifests.c.pulled_at,
    manifests.c.annotations,
    manifests.c.attributes,
    manifests.c.accessory_type,
    manifests.c.accessory_of,
)
# Manifests above this size (bytes) are not shown in full in lists.
BRIEF_BYTES = 64 * 1024
_BRIEF = tuple(
    case((manifests.c.size <= BRIEF_BYTES, column)) if column is manifests.c.annotations else column
    for column in _COLUMNS
)
TAG_COLUMNS = (
    tags.c.repository_id,
    tags.c.manifest_id,
    tags.c.name,
    tags.c.pushed_at,
    tags.c.pulled_at,
)
LABEL_COLUMNS = (
    labels.c.id,
    labels.c.name,
    labels.c.description,
    labels.c.color,
    labels.c.project_id,
    labels.c.created_at,
    labels.c.updated_at,
)


def artifacts(*, brief: bool = False) -> Select[Any]:
    """A query of artifacts; its rows make `Artifact(*row)`.

    `brief`: for lists, without the annotations of manifests above BRIEF_BYTES. What one pusher wrote may be
    megabytes, and a page has many of it.
    """
    columns = _BRIEF if brief else _COLUMNS
    return select(*columns).join(repositories, repositories.c.id == manifests.c.repository_id)


def find(connection: Connection, repository_id: int, reference: str) -> Artifact | None:
    """The artifact a tag or digest names."""
    query = artifacts().where(manifests.c.repository_id == repository_id)
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(
            tags, and_(tags.c.repository_id == repository_id, tags.c.manifest_id == manifests.c.id)
        ).where(tags.c.name == reference)
    row = connection.execute(query).first()
    return Artifact(*row) if row else None


def tags_of(connection: Connection, ids: Sequence[int], most: int | None = None) -> dict[int, list[Tag]]:
    """Tags by artifact, newest first; `most` of each."""
    result: dict[int, list[Tag]] = {}
    if ids:
        newest: tuple[Any, ...] = (tags.c.pushed_at.desc(), tags.c.name)
        query = select(*TAG_COLUMNS).where(tags.c.manifest_id.in_(ids))
        if most is not None:
            # What users may add without end is cut, so that a page has a bound.
            number = func.row_number().over(partition_by=tags.c.manifest_id, order_by=newest)
            rows = query.add_columns(number.label("number")).subquery()
            query = select(*list(rows.c)[:-1]).where(rows.c.number <= most)
            newest = (rows.c.pushed_at.desc(), rows.c.name)
        for row in connection.execute(query.order_by(*newest)):
            result.setdefault(row[1], []).append(Tag(*row))
    return result


def labels_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Label]]:
    """Labels by artifact."""
    result: dict[int, list[Label]] = {}
    if ids:
        query = (
            select(manifest_labels.c.manifest_id, *LABEL_COLUMNS)
            .join(labels, labels.c.id == manifest_labels.c.label_id)
            .where(manifest_labels.c.manifest_id.in_(ids))
            .order_by(labels.c.id)
        )
        for row in connection.execute(query):
            result.setdefault(row[0], []).append(Label(*row[1:]))
    return result


def accessories_of(
    connection: Connection, found: Iterable[Artifact], most: int | None = None
) -> dict[int, list[Artifact]]:
    """Accessories by the id of their subject; the first `most` of each."""
    subjects = {(item.repository_id, item.digest): item.id for item in found}
    result: dict[int, list[Artifact]] = {}
    for repository_id in {key[0] for key in subjects}:
        digests = [digest for owner, digest in subjects if owner == repository_id]
        here = manifests.c.repository_id == repository_id
        query = artifacts(brief=True).where(here, manifests.c.accessory_of.in_(digests))
        if most is not None:
            number = func.row_number().over(partition_by=manifests.c.accessory_of, order_by=manifests.c.id)
            rows = (
                select(manifests.c.id, number.label("number"))
                .where(here, manifests.c.accessory_of.in_(digests))
                .subquery()
            )
            query = query.where(manifests.c.id.in_(select(rows.c.id).where(rows.c.number <= most)))
        for row in connection.execute(query.order_by(manifests.c.id)):
            item = Artifact(*row)
            result.setdefault(subjects[repository_id, item.accessory_of or ""], []).append(item)
    return result


def inherited_accessories_of(
    connection: Connection, found: Iterable[Artifact], most: int | None = None
) -> dict[int, list[tuple[Artifact, Artifact]]]:
    """(accessory, its subject) of the indexes that name an artifact, by the artifact's id.

    Of `most` such indexes, and the first `most` accessories of each.
    """
    result: dict[int, list[tuple[Artifact, Artifact]]] = {}
    for item in found:
        parents = [
            Artifact(*row)
            for row in connection.execute(
                artifacts()
                .order_by(manifests.c.id)
                .limit(most)
                .where(
                    manifests.c.id.in_(
                        select(manifest_references.c.manifest_id).where(
                            manifest_references.c.repository_id == item.repository_id,
                            manifest_references.c.digest == item.digest,
                            manifest_references.c.kind == "manifest",
                        )
                    )
                )
            )
        ]
        attached = accessories_of(connection, parents, most) if parents else {}
        pairs = [(part, parent) for parent in parents for part in attached.get(parent.id, [])]
        if pairs:
            result[item.id] = pairs
    return result


def references_of(connection: Connection, found: Iterable[Artifact]) -> dict[int, list[Reference]]:
    """Children by the id of their index, in the index's order; of several indexes not the large ones'."""
    parents = {item.id: item for item in found if item.is_index}
    most = BRIEF_BYTES if len(parents) > 1 else 2**40
    result: dict[int, list[Reference]] = {}
    if not parents:
        return result
    payloads = connection.execute(
        select(manifest_payloads.c.manifest_id, manifest_payloads.c.payload).where(
            manifest_payloads.c.manifest_id.in_(parents),
            func.length(manifest_payloads.c.payload) <= most,
        )
    ).all()
    for parent_id, payload in payloads:
        children = {
            row[0]: row[1]
            for row in connection.execute(
                select(manifests.c.digest, manifests.c.id)
                .join(
                    manifest_references,
                    and_(
                        manifest_references.c.repository_id == manifests.c.repository_id,
                        manifest_references.c.digest == manifests.c.digest,
                    ),
                )
                .where(manifest_references.c.manifest_id == parent_id)
            )
        }
        listed = msgspec.json.decode(bytes(payload)).get("manifests") or []
        result[parent_id] = [
            Reference(
                parent_id,
                children.get(item["digest"], 0),
                item["digest"],
                item["platform"] if isinstance(item.get("platform"), dict) else None,
                item["annotations"] if isinstance(item.get("annotations"), dict) else None,
                item["urls"] if isinstance(item.get("urls"), list) else None,
            )
            for item in listed
            if names_manifest(item.get("mediaType") or "")
        ]
    return result


def repository_row(connection: Connection, name: str) -> Any:
    """The repository's columns, None when it does not exist or never held a manifest."""
    query = repository_query().where(repositories.c.name == name, REPOSITORY_EXISTS)
    return connection.execute(query).first()


def repository_query() -> Select[Any]:
    """A query of repositories that have held a manifest."""
    return select(
        repositories.c.id,
        repositories.c.project_id,
        repositories.c.name,
        repositories.c.description,
        repositories.c.artifact_count,
        repositories.c.pull_count,
        repositories.c.created_at,
        repositories.c.updated_at,
        projects.c.name.label("project_name"),
        projects.c.public,
    ).join(projects, projects.c.id == repositories.c.project_id)
