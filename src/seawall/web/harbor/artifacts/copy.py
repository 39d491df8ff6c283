"""Copying an artifact to another repository."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from seawall.access.access import project_by_name
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_name
from seawall.web.harbor.artifacts.models import (
    artifact_path,
)
from seawall.web.harbor.deps import Access, named_project_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.repositories import RepositoryName, full_name
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


@router.post("/projects/{project_name}/repositories/{repository_name}/artifacts", status_code=201)
async def copy_artifact(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("artifact", "create")],
    db: Db,
    artifact_service: Artifacts,
    source: Annotated[str, Query(alias="from", max_length=700)],
) -> Response:
    """Copy an artifact here, from `project/repository:tag` or `project/repository@digest`."""
    target = full_name(access, repository_name)
    if access.project.registry_id:
        raise ApiError(405, "a proxy cache project takes no pushes")
    name, reference = _parse_source(source)
    project = await db.point(lambda c: project_by_name(c, name.partition("/")[0]))
    if project is None:
        # Only administrators learn whether a project exists.
        raise ApiError(404, f"repository {name} not found") if access.principal.sysadmin else access.refusal()
    await access.require("artifact", "read", project)
    digest = await artifact_service.copy(name, reference, target)
    access.audited("copy", "artifact", f"{target}@{digest}", f"copy {source} to {target}", access.project.id)
    return Response(status_code=201, headers={"Location": artifact_path(target, reference)})


def _parse_source(text: str) -> tuple[str, str]:
    name, at, digest = text.partition("@")
    reference = digest
    if not at:
        name, _, reference = text.rpartition(":")
    try:
        check_name(name)
    except RegistryError:
        raise ApiError(400, "from must be project/repository:tag or project/repository@digest") from None
    return name, reference
