"""Artifacts: lists, details, accessories, deletion."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Query, Response

from seawall.features.scan import listed
from seawall.kernel.errors import NotFoundError
from seawall.registry import artifact_lists
from seawall.registry.artifacts import Artifact as ArtifactRow
from seawall.registry.artifacts import Cursor
from seawall.web.harbor.artifacts.models import (
    ARTIFACT,
    Accessory,
    Artifact,
    Flag,
    Reference,
    WantedDep,
    accessory_model,
    find,
    models,
)
from seawall.web.harbor.deps import Access, ListingDep, named_project_access, project_access
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.query import Listing
from seawall.web.harbor.repositories import RepositoryName, full_name
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


After = Annotated[str | None, Query(max_length=64)]


async def _page(
    access: Access, db: Db, page: Listing, scope: tuple[str, int], after: str | None, latest: bool = False
) -> list[ArtifactRow]:
    cursor = Cursor.parse(after) if after else None
    total, found, following = await db.read(
        lambda c: artifact_lists.list_artifacts(
            c, page, scope, cursor, listed.conditions(c, access.project.id), latest=latest
        )
    )
    page.total(total, None if following is None else str(following))
    return found


@router.get("/projects/{project_name}/repositories/{repository_name}/artifacts")
async def list_artifacts(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("artifact", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    wanted: WantedDep,
    after: After = None,
) -> list[Artifact]:
    """Artifacts of a repository, newest push first; none of one that is not there, as in Harbor.

    `after` comes with the link to the next page.
    """
    name = full_name(access, repository_name)
    try:
        repository = await artifact_service.repository(name)
    except NotFoundError:
        page.total(0)
        return []
    found = await _page(access, db, page, ("repository_id", repository.id), after)
    return await models(access, db, artifact_service, found, wanted)


@router.get("/projects/{project_name_or_id}/artifacts")
async def list_artifacts_of_project(
    access: Annotated[Access, project_access("artifact", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    wanted: WantedDep,
    after: After = None,
    latest_in_repository: Flag = False,
) -> list[Artifact]:
    """Artifacts of a project, newest push first; `latest_in_repository`: one of each repository."""
    found = await _page(access, db, page, ("project_id", access.project.id), after, latest_in_repository)
    return await models(access, db, artifact_service, found, wanted)


@router.get(ARTIFACT)
async def get_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "read")],
    db: Db,
    artifact_service: Artifacts,
    wanted: WantedDep,
    unused_page: Annotated[int, Query(alias="page", ge=1, le=2**40)] = 1,
    unused_page_size: Annotated[int, Query(alias="page_size", ge=0, le=100)] = 10,
    unused_with_signature: Annotated[bool, Query(alias="with_signature")] = False,
) -> Artifact:
    """One artifact, by tag or digest. `page`, `page_size` and `with_signature` are Harbor's, where too they
    have no effect."""
    found = await find(access, artifact_service, repository_name, reference)
    return (await models(access, db, artifact_service, [found], wanted))[0]


@router.delete(ARTIFACT)
async def delete_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "delete")],
    artifact_service: Artifacts,
) -> Response:
    """Delete an artifact with its tags, accessories and children; 412 for immutable tags and children."""
    name = full_name(access, repository_name)
    access.recorded = True
    await artifact_service.delete(name, unquote(reference), also=access.trace)
    return Response()


@router.get(f"{ARTIFACT}/accessories")
async def list_accessories(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("accessory", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
) -> list[Accessory]:
    """Signatures, SBOMs and other referrers of an artifact."""
    found = await find(access, artifact_service, repository_name, reference)
    total, result = await db.read(lambda c: artifact_lists.list_accessories(c, found, page))
    page.total(total)
    return [accessory_model(row, found) for row in result]
