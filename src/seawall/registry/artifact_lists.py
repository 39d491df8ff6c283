"""Lists of artifacts, tags and accessories."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, not_, or_, select

from seawall.infra.db.listing import Condition, Field, Fields, Page, contains
from seawall.kernel.errors import InvalidError
from seawall.registry import artifacts, windows
from seawall.registry.artifacts import Artifact, Cursor, Tag
from seawall.registry.index import SIGNATURES
from seawall.registry.tables import manifest_labels, manifests, repositories, tags


def _tag_condition(condition: Condition) -> ColumnElement[bool]:
    mine = tags.c.manifest_id == manifests.c.id
    if condition.operator == "fuzzy":
        return exists().where(mine, contains(tags.c.name, condition.value))
    if condition.operator == "eq":
        if condition.value == "*":
            return exists().where(mine)
        if condition.value == "nil":
            return ~exists().where(mine)
        return exists().where(mine, tags.c.name == condition.value)
    if condition.operator in ("any", "all"):
        parts = [exists().where(mine, tags.c.name == value) for value in condition.values]
        return or_(*parts) if condition.operator == "any" else and_(*parts)
    raise InvalidError("invalid query: tags cannot be given as a range")


def _label_condition(condition: Condition) -> ColumnElement[bool]:
    if condition.operator == "all" or condition.operator == "eq":
        ids = []
        for value in condition.values:
            if not value.isascii() or not value.isdigit() or len(value) > 15:
                raise InvalidError("invalid query: labels must be given by their ids: labels=(1 2)")
            ids.append(int(value))
        return and_(
            *(
                exists().where(
                    manifest_labels.c.manifest_id == manifests.c.id, manifest_labels.c.label_id == number
                )
                for number in ids
            )
        )
    raise InvalidError("invalid query: labels must be given as labels=(1 2)")


def _base_condition(condition: Condition) -> ColumnElement[bool]:
    if condition.operator != "eq" or condition.value != "*":
        raise InvalidError('invalid query: base can only be "*"')
    return manifests.c.id.is_not(None)


def _signed_condition(condition: Condition) -> ColumnElement[bool]:
    value = condition.value.lower() if condition.operator == "eq" else ""
    if value not in ("true", "false", "1", "0"):
        raise InvalidError("invalid query: signed is true or false")
    signature = manifests.alias("signature")
    signed = exists().where(
        signature.c.repository_id == manifests.c.repository_id,
        signature.c.accessory_of == manifests.c.digest,
        signature.c.accessory_type.in_(SIGNATURES),
    )
    return signed if value in ("true", "1") else not_(signed)


FIELDS: Fields = {
    "id": Field(manifests.c.id, "int"),
    "digest": Field(manifests.c.digest),
    "type": Field(manifests.c.kind),
    "media_type": Field(func.coalesce(manifests.c.config_media_type, manifests.c.media_type)),
    "manifest_media_type": Field(manifests.c.media_type),
    "artifact_type": Field(func.coalesce(manifests.c.artifact_type, manifests.c.config_media_type)),
    "repository_name": Field(repositories.c.name),
    "size": Field(manifests.c.total_size, "int"),
    "push_time": Field(manifests.c.pushed_at, "time"),
    "pull_time": Field(manifests.c.pulled_at, "time"),
    "tags": _tag_condition,
    "labels": _label_condition,
    "base": _base_condition,
    "signed": _signed_condition,
}
_TAG_FIELDS: Fields = {
    "name": Field(tags.c.name),
    "artifact_id": Field(tags.c.manifest_id, "int"),
    "repository_id": Field(tags.c.repository_id, "int"),
    "push_time": Field(tags.c.pushed_at, "time"),
    "pull_time": Field(tags.c.pulled_at, "time"),
}
_ACCESSORY_FIELDS: Fields = {
    "id": Field(manifests.c.id, "int"),
    "type": Field(manifests.c.accessory_type),
    "digest": Field(manifests.c.digest),
    "size": Field(manifests.c.total_size, "int"),
    "creation_time": Field(manifests.c.pushed_at, "time"),
}


def list_artifacts(
    connection: Connection,
    page: Page,
    scope: tuple[str, int],
    cursor: Cursor | None,
    more: Fields,
    *,
    latest: bool = False,
) -> tuple[int, list[Artifact], Cursor | None]:
    """How many artifacts there are, a page of them, and the cursor of the next page where there is one.

    `scope` is the column of manifests (`repository_id` or `project_id`) and its value. `more`: what features
    know of artifacts, to filter by. `latest`: only the artifact of each repository that was pushed last.
    Raises InvalidError for conditions that make no sense.
    """
    fields = {**FIELDS, **more}
    known = [item for item in page.conditions if item.key in fields]
    by_time = not latest and page.sort in ([], [("push_time", True)])
    # All artifacts, or all of a type: their numbers are kept.
    one = known[0] if len(known) == 1 else None
    kind = one.value if one and (one.key, one.operator) == ("type", "eq") else None
    plain = by_time and (not known or kind is not None)
    if plain:
        total = windows.count(connection, scope, kind) if kind else _total(connection, scope)
        found = artifacts.page(
            connection, scope, limit=page.size, offset=page.offset, after=cursor, total=total, kind=kind
        )
    else:
        total, found = _filtered(connection, page, scope, cursor if by_time else None, fields, latest=latest)
    following = None
    if by_time and found:
        following = Cursor(found[-1].pushed_at, found[-1].id, None if plain else total)
    return total, found, following


def _filtered(
    connection: Connection,
    page: Page,
    scope: tuple[str, int],
    cursor: Cursor | None,
    fields: Fields,
    *,
    latest: bool,
) -> tuple[int, list[Artifact]]:
    query = artifacts.artifacts(brief=True).where(manifests.c[scope[0]] == scope[1])
    if page.condition("base") is None:
        query = query.where(manifests.c.listed.is_(True))
    query = page.filter(query, fields)
    if latest:
        query = _latest(query)
    if cursor is not None and cursor.total is not None:
        total = cursor.total
    else:
        total = connection.execute(
            select(func.count()).select_from(query.with_only_columns(manifests.c.id).subquery())
        ).scalar_one()
    ordered = page.order(query, fields, *artifacts.NEWEST_FIRST)
    if cursor is not None:
        part = ordered.where(artifacts.before_cursor(cursor)).limit(page.size)
    else:
        part = page.slice(ordered)
    return total, [Artifact(*row) for row in connection.execute(part)]


def list_tags(connection: Connection, artifact_id: int, page: Page) -> tuple[int, list[Tag]]:
    """Tags of an artifact, newest first."""
    query = select(*artifacts.TAG_COLUMNS).where(tags.c.manifest_id == artifact_id)
    total, rows = page.fetch(connection, query, _TAG_FIELDS, tags.c.pushed_at.desc(), tags.c.name)
    return total, [Tag(*row) for row in rows]


def list_accessories(connection: Connection, subject: Artifact, page: Page) -> tuple[int, list[Artifact]]:
    """Signatures, SBOMs and other referrers of an artifact, oldest first."""
    query = artifacts.artifacts(brief=True).where(
        manifests.c.repository_id == subject.repository_id, manifests.c.accessory_of == subject.digest
    )
    total, rows = page.fetch(connection, query, _ACCESSORY_FIELDS, manifests.c.id, key=manifests.c.id)
    return total, [Artifact(*row) for row in rows]


def _total(connection: Connection, scope: tuple[str, int]) -> int:
    """How many artifacts are listed, from the counts kept with repositories."""
    column = repositories.c.id if scope[0] == "repository_id" else repositories.c.project_id
    return int(
        connection.execute(
            select(func.coalesce(func.sum(repositories.c.artifact_count), 0)).where(column == scope[1])
        ).scalar_one()
    )


def _latest(query: Select[Any]) -> Select[Any]:
    """Of each repository only the artifact that was pushed last."""
    newer = manifests.alias("newer")
    return query.where(
        ~exists().where(
            newer.c.repository_id == manifests.c.repository_id,
            newer.c.listed.is_(True),
            or_(
                newer.c.pushed_at > manifests.c.pushed_at,
                and_(newer.c.pushed_at == manifests.c.pushed_at, newer.c.id > manifests.c.id),
            ),
        )
    )
