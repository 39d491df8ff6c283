"""Tags of an artifact."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path, Response
from sqlalchemy import Connection

from seawall.features.immutability import rules as immutability
from seawall.registry import artifact_lists
from seawall.web.harbor.artifacts.models import (
    ARTIFACT,
    Flag,
    Reference,
    Tag,
    artifact_path,
    find,
    tag_model,
)
from seawall.web.harbor.deps import Access, ListingDep, named_project_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.repositories import RepositoryName, full_name
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


@router.get(f"{ARTIFACT}/tags")
async def list_tags(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("tag", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    with_immutable_status: Flag = False,
) -> list[Tag]:
    """Tags of an artifact, newest first."""
    found = await find(access, artifact_service, repository_name, reference)

    def read_tags(connection: Connection) -> tuple[int, list[Tag]]:
        total, rows = artifact_lists.list_tags(connection, found.id, page)
        rules = immutability.rules(connection, found.project_id) if with_immutable_status else []
        return total, [
            tag_model(row, immutability.immutable(rules, found.repository, row.name)) for row in rows
        ]

    total, result = await db.read(read_tags)
    page.total(total)
    return result


@router.post(f"{ARTIFACT}/tags", status_code=201)
async def create_tag(
    repository_name: RepositoryName,
    reference: Reference,
    body: Tag,
    access: Annotated[Access, named_project_access("tag", "create")],
    artifact_service: Artifacts,
) -> Response:
    """Give the artifact one more tag; 409 when the repository has that tag already."""
    name = full_name(access, repository_name)
    if access.project.registry_id:
        raise ApiError(405, "a proxy cache project takes no pushes")
    tag = body.name or ""
    await artifact_service.create_tag(name, unquote(reference), tag, also=access.trace)
    access.audited("create", "tag", f"{name}:{tag}", f"tag {name}:{tag}", access.project.id)
    place = f"{artifact_path(name, unquote(reference))}/tags/{tag}"
    return Response(status_code=201, headers={"Location": place})


@router.delete(f"{ARTIFACT}/tags/{{tag_name}}")
async def delete_tag(
    repository_name: RepositoryName,
    reference: Reference,
    tag_name: Annotated[str, Path(max_length=255)],
    access: Annotated[Access, named_project_access("tag", "delete")],
    artifact_service: Artifacts,
) -> Response:
    """Take a tag from the artifact; 412 when it is immutable."""
    name = full_name(access, repository_name)
    tag = unquote(tag_name)
    access.recorded = True
    await artifact_service.delete_tag(name, unquote(reference), tag, also=access.trace)
    return Response()
