"""Pages of artifacts by push time, each found in the same time however deep in the list it is."""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Connection,
    literal,
    select,
    tuple_,
)

from seawall.registry import windows
from seawall.registry.artifacts.model import Artifact, Cursor
from seawall.registry.artifacts.queries import NEWEST_FIRST, artifacts
from seawall.registry.tables import (
    manifests,
)

# Artifacts that are passed over in the index sooner than looked up in the counts.
_WALK = 200


def before_cursor(after: Cursor) -> ColumnElement[bool]:
    """The artifacts that come after the cursor in a list by push time, newest first."""
    return tuple_(manifests.c.pushed_at, manifests.c.id) < tuple_(literal(after.pushed_at), literal(after.id))


def page(
    connection: Connection,
    scope: tuple[str, int],
    *,
    limit: int,
    offset: int = 0,
    after: Cursor | None = None,
    total: int | None = None,
    kind: str | None = None,
) -> list[Artifact]:
    """A page of the listed artifacts of a repository or project, newest push first.

    `scope` is ("repository_id", id) or ("project_id", id), `kind` an artifact type. The time is the same for
    every page: `after` is a place in the index, and `offset` is looked up in the counts of
    `registry.windows`. Where those are not equal to `total`, which is kept apart from them, the ids before
    the page are walked in the index, from the nearer end.
    """
    column = manifests.c[scope[0]]
    ids = select(manifests.c.id).where(column == scope[1], manifests.c.listed.is_(True))
    if kind is not None:
        ids = ids.where(manifests.c.kind == kind)
    if after is None and total is not None and offset > _WALK:
        if offset >= total:
            return []
        counted = windows.count(connection, scope, kind) == total
        place = windows.locate(connection, scope, offset, kind) if counted else None
        if place is not None:
            before, offset = place
            ids = ids.where(manifests.c.pushed_at < before)
            total = None
    if after is not None:
        ids = ids.where(before_cursor(after))
        ids = ids.order_by(*NEWEST_FIRST).limit(limit)
    elif total is not None and offset > total // 2:
        rest = max(total - offset - limit, 0)
        here = max(min(limit, total - offset), 0)
        ids = ids.order_by(manifests.c.pushed_at, manifests.c.id).limit(here).offset(rest)
    else:
        ids = ids.order_by(*NEWEST_FIRST).limit(limit).offset(offset)
    chosen = ids.subquery()
    query = artifacts(brief=True).join(chosen, chosen.c.id == manifests.c.id).order_by(*NEWEST_FIRST)
    return [Artifact(*row) for row in connection.execute(query)]
