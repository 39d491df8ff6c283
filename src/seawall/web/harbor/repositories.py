"""Repositories: lists, description, deletion."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Select, func, select, update

from seawall.access import access as decide
from seawall.access.tables import projects
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_name
from seawall.registry.artifacts import repository_query, repository_row
from seawall.registry.tables import repositories
from seawall.web.harbor.deps import Access, ApiRouter, ListingDep, anyone, named_project_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.query import Custom, Listing
from seawall.web.harbor.query import Field as QueryField

router = ApiRouter(tags=["repository"])

# Harbor's clients send slashes in a repository's name encoded twice; once is undone by the server.
RepositoryName = Annotated[str, Path(min_length=1, max_length=512)]


class Repository(BaseModel):
    """A repository; `name` includes the project's."""

    id: int | None = None
    project_id: int | None = None
    name: str | None = None
    description: str | None = Field(None, max_length=65536)
    artifact_count: int | None = None
    pull_count: int | None = None
    creation_time: str | None = None
    update_time: str | None = None


FIELDS: dict[str, QueryField | Custom] = {
    "id": QueryField(repositories.c.id, "int"),
    "repository_id": QueryField(repositories.c.id, "int"),
    "name": QueryField(repositories.c.name),
    "project_id": QueryField(repositories.c.project_id, "int"),
    "project_name": QueryField(projects.c.name),
    "description": QueryField(repositories.c.description),
    "artifact_count": QueryField(repositories.c.artifact_count, "int"),
    "pull_count": QueryField(repositories.c.pull_count, "int"),
    "creation_time": QueryField(repositories.c.created_at, "time"),
    "update_time": QueryField(repositories.c.updated_at, "time"),
}


def full_name(access: Access, name: str) -> str:
    """`project/repository` of a path. Raises ApiError 404 for what cannot be one."""
    found = f"{access.project.name}/{unquote(name)}"
    try:
        return check_name(found)
    except RegistryError:
        raise ApiError(404, f"repository {found[:300]} not found") from None


def model(row: Any) -> Repository:
    """The API's shape of a row of `repository_query`."""
    return Repository(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        description=row.description,
        artifact_count=row.artifact_count,
        pull_count=row.pull_count,
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


def _list(connection: Connection, page: Listing, query: Select[Any]) -> tuple[int, list[Repository]]:
    query = page.filter(query.where(repositories.c.pushed_at.is_not(None)), FIELDS)
    total = connection.execute(
        select(func.count()).select_from(query.with_only_columns(repositories.c.id).subquery())
    ).scalar_one()
    ordered = page.order(query, FIELDS, repositories.c.created_at.desc(), repositories.c.id.desc())
    return total, [model(row) for row in connection.execute(page.slice(ordered))]


@router.get("/repositories")
async def list_all_repositories(
    access: Annotated[Access, anyone()], db: Db, page: ListingDep
) -> list[Repository]:
    """Repositories of every project the caller may see."""

    def run(connection: Connection) -> tuple[int, list[Repository]]:
        query = repository_query()
        seen = decide.visible(access.principal)
        if seen is not None:
            query = query.where(repositories.c.project_id.in_(seen))
        return _list(connection, page, query)

    total, found = await db.read(run)
    page.total(total)
    return found


@router.get("/projects/{project_name}/repositories")
async def list_repositories(
    access: Annotated[Access, named_project_access("repository", "list")], db: Db, page: ListingDep
) -> list[Repository]:
    """Repositories of a project, newest first."""
    query = repository_query().where(repositories.c.project_id == access.project.id)
    total, found = await db.read(lambda c: _list(c, page, query))
    page.total(total)
    return found


async def _row(access: Access, db: Db, name: str) -> Any:
    found = full_name(access, name)
    row = await db.read(lambda c: repository_row(c, found))
    if row is None:
        raise ApiError(404, f"repository {found} not found")
    return row


@router.get("/projects/{project_name}/repositories/{repository_name}")
async def get_repository(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("repository", "read")],
    db: Db,
) -> Repository:
    """One repository."""
    return model(await _row(access, db, repository_name))


@router.put("/projects/{project_name}/repositories/{repository_name}")
async def update_repository(
    repository_name: RepositoryName,
    body: Repository,
    access: Annotated[Access, named_project_access("repository", "update")],
    db: Db,
) -> Response:
    """Change the description."""
    row = await _row(access, db, repository_name)
    await db.write(
        lambda c: c.execute(
            update(repositories).where(repositories.c.id == row.id).values(description=body.description or "")
        )
    )
    access.audited("update", "repository", row.name, f"describe {row.name}", access.project.id)
    return Response()


@router.delete("/projects/{project_name}/repositories/{repository_name}")
async def delete_repository(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("repository", "delete")],
    db: Db,
    artifact_service: Artifacts,
) -> Response:
    """Delete a repository with everything in it; 412 while it has an immutable tag."""
    row = await _row(access, db, repository_name)
    await artifact_service.delete_repository(row.name)
    access.audited("delete", "repository", row.name, f"delete {row.name}", access.project.id)
    return Response()
