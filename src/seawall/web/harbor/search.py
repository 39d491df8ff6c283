"""Search and icons."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel
from sqlalchemy import Connection

from seawall.access import projects as project_domain
from seawall.registry import icons, repository_lists
from seawall.web.harbor.deps import Access, anyone
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.projects import Project, project_models
from seawall.web.harbor.routing import ApiRouter

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

    def find_names(connection: Connection) -> Search:
        found = project_domain.search(connection, access.principal, q, _LIMIT)
        rows = repository_lists.search(connection, access.principal, q, _LIMIT)
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

    return await db.read(find_names)


@router.get("/icons/{digest}", tags=["icon"])
async def get_icon(
    digest: Annotated[str, Path(max_length=140)], access: Annotated[Access, anyone()]
) -> dict[str, str]:
    """The icon that `icon` of artifacts and accessories names."""
    found = icons.drawing(digest)
    if found is None:
        raise ApiError(404, "icon not found")
    return {"content-type": icons.MEDIA_TYPE, "content": base64.b64encode(found).decode()}
