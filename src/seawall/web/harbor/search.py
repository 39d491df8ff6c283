"""Search and icons."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel
from sqlalchemy import Connection

from seawall.access import access as decide
from seawall.access import projects as project_domain
from seawall.access.access import Project as ProjectRow
from seawall.access.tables import projects
from seawall.registry import icons
from seawall.registry.artifacts import repository_query
from seawall.registry.tables import repositories
from seawall.web.harbor.deps import Access, ApiRouter, anyone
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.projects import Project, project_models
from seawall.web.harbor.query import contains

router = ApiRouter()

_LIMIT = 100


class SearchRepository(BaseModel):
    """A repository that was found."""

    project_id: int
    project_name: str
    project_public: bool
    repository_name: str
    pull_count: int
    artifact_count: int


class Search(BaseModel):
    """What was found: at most 100 of each."""

    project: list[Project]
    repository: list[SearchRepository]


@router.get("/search", tags=["search"])
async def search(
    access: Annotated[Access, anyone()], db: Db, q: Annotated[str, Query(max_length=255)] = ""
) -> Search:
    """Projects and repositories with `q` in their name that the caller may see."""

    def run(connection: Connection) -> Search:
        seen = decide.visible(access.principal)
        project_query = project_domain.base_query().where(contains(projects.c.name, q))
        query = repository_query().where(
            contains(repositories.c.name, q), repositories.c.pushed_at.is_not(None)
        )
        if seen is not None:
            project_query = project_query.where(projects.c.id.in_(seen))
            query = query.where(repositories.c.project_id.in_(seen))
        found = [
            ProjectRow(*row)
            for row in connection.execute(project_query.order_by(projects.c.name).limit(_LIMIT))
        ]
        rows = connection.execute(query.order_by(repositories.c.name).limit(_LIMIT))
        return Search(
            project=project_models(connection, access, found),
            repository=[
                SearchRepository(
                    project_id=row.project_id,
                    project_name=row.project_name,
                    project_public=row.public,
                    repository_name=row.name,
                    pull_count=row.pull_count,
                    artifact_count=row.artifact_count,
                )
                for row in rows
            ],
        )

    return await db.read(run)


@router.get("/icons/{digest}", tags=["icon"])
async def get_icon(
    digest: Annotated[str, Path(max_length=140)], access: Annotated[Access, anyone()]
) -> dict[str, str]:
    """The icon that `icon` of artifacts and accessories names."""
    found = icons.drawing(digest)
    if found is None:
        raise ApiError(404, "icon not found")
    return {"content-type": icons.MEDIA_TYPE, "content": base64.b64encode(found).decode()}
