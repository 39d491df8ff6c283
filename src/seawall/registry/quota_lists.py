"""Questions about quotas: lists, one of them, and sums."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from seawall.access.views import projects, users
from seawall.infra.db.listing import Field, Fields, Page
from seawall.registry.accounting import UNLIMITED
from seawall.registry.ledger import USED
from seawall.registry.tables import quotas

_FIELDS: Fields = {
    "id": Field(quotas.c.id, "int"),
    "hard.storage": Field(quotas.c.hard_storage, "int"),
    "used.storage": Field(USED, "int"),
    "hard": Field(quotas.c.hard_storage, "int"),
    "used": Field(USED, "int"),
    "creation_time": Field(quotas.c.created_at, "time"),
    "update_time": Field(quotas.c.updated_at, "time"),
}


def list_quotas(connection: Connection, project_id: int | None, page: Page) -> tuple[int, list[Row[Any]]]:
    """Quotas of all projects or of one, oldest first.

    A row has id, project_id, hard_storage, used_storage, created_at, updated_at, the project's name, and the
    owner's username.
    """
    query = _quota_query()
    if project_id is not None:
        query = query.where(quotas.c.project_id == project_id)
    return page.fetch(connection, query, _FIELDS, quotas.c.id, key=quotas.c.id)


def quota(connection: Connection, quota_id: int) -> Row[Any] | None:
    """One row of `list_quotas`."""
    return connection.execute(_quota_query().where(quotas.c.id == quota_id)).first()


def quota_of(connection: Connection, project_id: int) -> Row[Any] | None:
    """The project's quota: hard_storage and used_storage in bytes, and the rest of its row."""
    columns: list[Any] = [item for item in quotas.c if item.name != "used_storage"]
    query: Select[Any] = select(*columns, USED.label("used_storage"))
    return connection.execute(query.where(quotas.c.project_id == project_id)).first()


def usage(connection: Connection) -> list[tuple[str, int, int]]:
    """(project, bytes it stores, quota in bytes or -1) of every project, by name."""
    # A project that a push made (without authentication) has a row of `quotas` from that push on only.
    query = select(
        projects.c.name,
        func.coalesce(USED, 0),
        func.coalesce(quotas.c.hard_storage, UNLIMITED),
    )
    query = query.outerjoin(quotas, quotas.c.project_id == projects.c.id).order_by(projects.c.name)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def total_used(connection: Connection) -> int:
    """Bytes that all projects store together."""
    return int(connection.execute(select(func.sum(USED))).scalar() or 0)


def _quota_query() -> Select[Any]:
    return (
        select(
            quotas.c.id,
            quotas.c.project_id,
            quotas.c.hard_storage,
            USED.label("used_storage"),
            quotas.c.created_at,
            quotas.c.updated_at,
            projects.c.name,
            users.c.username,
        )
        .join(projects, projects.c.id == quotas.c.project_id)
        .outerjoin(users, users.c.id == projects.c.owner_id)
    )
