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
    """One metadata value; nothing where it is not set, as in Harbor."""
    found = await db.read(lambda c: _metadata_of(c, access.project))
    return {meta_name: found[meta_name]} if meta_name in found else {}


@router.put("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def update_project_metadata(
    meta_name: MetadataName,
    body: dict[str, str],
    access: Annotated[Access, project_access("metadata", "update")],
) -> Response:
    """Change one metadata value; others in the body are not looked at, as in Harbor."""
    if meta_name not in body:
        raise ApiError(400, f"the body must have {meta_name[:100]}")
    project, wanted = access.project, {meta_name: body[meta_name]}
    await access.write(lambda c: domain.set_metadata(c, project, wanted))
    access.audited("update", "project_metadata", project.name, f"set {meta_name[:100]}", project.id)
    return Response()


@router.delete("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def delete_project_metadata(
    meta_name: MetadataName, access: Annotated[Access, project_access("metadata", "delete")]
) -> Response:
    """Take one metadata value away, if it is there."""
    project = access.project
    if meta_name == "public":
        raise ApiError(400, "public cannot be taken away")
    await access.write(lambda c: domain.delete_metadata(c, project.id, meta_name))
    access.audited("delete", "project_metadata", project.name, f"remove {meta_name[:100]}", project.id)
    return Response()
