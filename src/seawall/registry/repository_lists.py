"""Lists and counts of repositories, and their description."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from seawall.access.access import visible
from seawall.access.principal import Principal
from seawall.access.views import projects
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.registry.artifacts import repository_query
from seawall.registry.tables import REPOSITORY_EXISTS, repositories

FIELDS: Fields = {
    "id": Field(repositories.c.id, "int"),
    "repository_id": Field(repositories.c.id, "int"),
    "name": Field(repositories.c.name),
    "project_id": Field(repositories.c.project_id, "int"),
    "project_name": Field(projects.c.name),
    "description": Field(repositories.c.description),
    "artifact_count": Field(repositories.c.artifact_count, "int"),
    "pull_count": Field(repositories.c.pull_count, "int"),
    "creation_time": Field(repositories.c.created_at, "time"),
    "update_time": Field(repositories.c.updated_at, "time"),
}


def list_visible(connection: Connection, principal: Principal, page: Page) -> tuple[int, list[Any]]:
    """Rows of `repository_query` of every project the principal may see, newest first."""
    return _page(connection, _seen(repository_query(), principal), page)


def list_of_project(connection: Connection, project_id: int, page: Page) -> tuple[int, list[Any]]:
    """Rows of `repository_query` of a project, newest first."""
    return _page(connection, repository_query().where(repositories.c.project_id == project_id), page)


def search(connection: Connection, principal: Principal, name_part: str, limit: int) -> list[Any]:
    """Up to `limit` rows of `repository_query` that the principal may see, by name."""
    query = repository_query().where(contains(repositories.c.name, name_part), REPOSITORY_EXISTS)
    query = _seen(query, principal)
    return list(connection.execute(query.order_by(repositories.c.name).limit(limit)))


def count_visible(connection: Connection, principal: Principal, public: bool) -> tuple[int, int]:
    """How many public (or private) projects the principal may see, and how many repositories they have."""
    chosen = select(projects.c.id).where(projects.c.public.is_(public))
    seen = visible(principal)
    if seen is not None:
        chosen = chosen.where(projects.c.id.in_(seen))
    found = connection.execute(select(func.count()).select_from(chosen.subquery())).scalar()
    held = select(func.count()).select_from(repositories)
    held = held.where(repositories.c.project_id.in_(chosen), REPOSITORY_EXISTS)
    return found or 0, connection.execute(held).scalar() or 0


def describe(connection: Connection, repository_id: int, description: str) -> None:
    """Set the description."""
    connection.execute(
        update(repositories).where(repositories.c.id == repository_id).values(description=description)
    )


def name_of(connection: Connection, repository_id: int) -> str | None:
    """The full name of the repository, None when there is none."""
    return connection.execute(select(repositories.c.name).where(repositories.c.id == repository_id)).scalar()


def _seen(query: Select[Any], principal: Principal) -> Select[Any]:
    seen = visible(principal)
    return query if seen is None else query.where(repositories.c.project_id.in_(seen))


def _page(connection: Connection, query: Select[Any], page: Page) -> tuple[int, list[Any]]:
    pushed = query.where(REPOSITORY_EXISTS)
    newest_first = (repositories.c.created_at.desc(), repositories.c.id.desc())
    return page.fetch(connection, pushed, FIELDS, *newest_first, key=repositories.c.id)
