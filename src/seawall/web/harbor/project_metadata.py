"""The metadata of projects, one by one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response
from sqlalchemy import Connection

from seawall.access import projects as domain
from seawall.access.access import Project as ProjectRow
from seawall.features.retention.policies import policy_ids
from seawall.kernel.errors import ConflictError
from seawall.web.harbor.deps import (
    Access,
    ApiRouter,
    project_access,
)
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.projects import shown

router = ApiRouter(tags=["project"])


def _metadata_of(connection: Connection, project: ProjectRow) -> dict[str, str]:
    retention = policy_ids(connection, [project.id])
    return shown(domain.metadata_of(connection, project), retention.get(project.id))


MetadataName = Annotated[str, Path(max_length=255)]


@router.get("/projects/{project_name_or_id}/metadatas", tags=["projectMetadata"])
async def list_project_metadatas(
    access: Annotated[Access, project_access("metadata", "list")],
    db: Db,
) -> dict[str, str]:
    """Every metadata value."""
    return await db.read(lambda c: _metadata_of(c, access.project))


@router.post("/projects/{project_name_or_id}/metadatas", tags=["projectMetadata"])
async def add_project_metadatas(
    body: dict[str, str], access: Annotated[Access, project_access("metadata", "create")]
) -> Response:
    """Set one value that is not set yet."""
    if len(body) != 1:
        raise ApiError(400, "give exactly one metadata value")
    project, (name, value) = access.project, next(iter(body.items()))

    def add_value(connection: Connection) -> None:
        if name in _metadata_of(connection, project):
            raise ConflictError(f"metadata {name} is set already")
        domain.set_metadata(connection, project, {name: value})

    await access.write(add_value)
    access.audited("create", "project_metadata", project.name, f"set {name[:100]}", project.id)
    return Response()


@router.get("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def get_project_metadata(
    meta_name: MetadataName, access: Annotated[Access, project_access("metadata", "read")], db: Db
) -> dict[str, str]:
    """One metadata value."""
    found = await db.read(lambda c: _metadata_of(c, access.project))
    if meta_name not in found:
        raise ApiError(404, f"metadata {meta_name} is not set")
    return {meta_name: found[meta_name]}


@router.put("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def update_project_metadata(
    meta_name: MetadataName,
    body: dict[str, str],
    access: Annotated[Access, project_access("metadata", "update")],
) -> Response:
    """Change one metadata value."""
    if list(body) != [meta_name]:
        raise ApiError(400, f"the body must have exactly {meta_name}")
    project = access.project
    await access.write(lambda c: domain.set_metadata(c, project, body))
    access.audited("update", "project_metadata", project.name, f"set {meta_name[:100]}", project.id)
    return Response()


@router.delete("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def delete_project_metadata(
    meta_name: MetadataName, access: Annotated[Access, project_access("metadata", "delete")]
) -> Response:
    """Take one metadata value away."""
    project = access.project
    if meta_name == "public":
        raise ApiError(400, "public cannot be taken away")
    if not await access.write(lambda c: domain.delete_metadata(c, project.id, meta_name)):
        raise ApiError(404, f"metadata {meta_name} is not set")
    access.audited("delete", "project_metadata", project.name, f"remove {meta_name[:100]}", project.id)
    return Response()
