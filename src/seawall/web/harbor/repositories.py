"""Repositories: lists, description, deletion."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Path, Response
from pydantic import BaseModel, Field

from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_name
from seawall.registry import repository_lists as lists
from seawall.registry.artifacts import repository_row
from seawall.web.harbor.deps import Access, ListingDep, anyone, named_project_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.routing import ApiRouter

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


@router.get("/repositories")
async def list_all_repositories(
    access: Annotated[Access, anyone()], db: Db, page: ListingDep
) -> list[Repository]:
    """Repositories of every project the caller may see."""

    total, found = await db.read(lambda c: lists.list_visible(c, access.principal, page))
    page.total(total)
    return [model(row) for row in found]


@router.get("/projects/{project_name}/repositories")
async def list_repositories(
    access: Annotated[Access, named_project_access("repository", "list")], db: Db, page: ListingDep
) -> list[Repository]:
    """Repositories of a project, newest first."""
    total, found = await db.read(lambda c: lists.list_of_project(c, access.project.id, page))
    page.total(total)
    return [model(row) for row in found]


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
    await access.write(lambda c: lists.describe(c, row.id, body.description or ""))
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
    await artifact_service.delete_repository(row.name, also=access.trace)
    access.audited("delete", "repository", row.name, f"delete {row.name}", access.project.id)
    return Response()
