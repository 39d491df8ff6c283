"""The metadata of projects, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Path, Response
from sqlalchemy import Connection

from seawall.access import projects as domain
from seawall.access.access import Project as ProjectRow
from seawall.features.retention.policies import policy_ids
from seawall.kernel.errors import ConflictError
from seawall.registry import virtual
from seawall.web.harbor.deps import Access, project_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.projects import check_virtual, shown
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["project"])


def _metadata_of(connection: Connection, project: ProjectRow) -> dict[str, str]:
    retention = policy_ids(connection, [project.id])
    return shown(domain.metadata_of(connection, project), retention.get(project.id))


def _setter(access: Access) -> Callable[[Connection, Mapping[str, str]], None]:
    """Sets metadata values of the caller's project, for a transaction."""
    project = access.project

    def set_values(connection: Connection, values: Mapping[str, str]) -> None:
        check_virtual(connection, access, project, values)
        virtual.set_metadata(connection, project, values)

    return set_values


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
    set_values = _setter(access)

    def add_value(connection: Connection) -> None:
        if name in _metadata_of(connection, project):
            raise ConflictError(f"metadata {name} is set already")
        set_values(connection, {name: value})

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
    """Change one metadata value; others in the body are ignored, as in Harbor."""
    if meta_name not in body:
        raise ApiError(400, f"the body must have {meta_name[:100]}")
    project, wanted = access.project, {meta_name: body[meta_name]}
    set_values = _setter(access)
    await access.write(lambda c: set_values(c, wanted))
    access.audited("update", "project_metadata", project.name, f"set {meta_name[:100]}", project.id)
    return Response()


@router.delete("/projects/{project_name_or_id}/metadatas/{meta_name}", tags=["projectMetadata"])
async def delete_project_metadata(
    meta_name: MetadataName, access: Annotated[Access, project_access("metadata", "delete")]
) -> Response:
    """Remove one metadata value, if it is there."""
    project = access.project
    if meta_name == "public":
        raise ApiError(400, "public cannot be removed; set it to false")

    def delete_value(connection: Connection) -> None:
        check_virtual(connection, access, project, {meta_name: None})
        domain.delete_metadata(connection, project.id, meta_name)

    await access.write(delete_value)
    access.audited("delete", "project_metadata", project.name, f"remove {meta_name[:100]}", project.id)
    return Response()
