"""The audit log: of the system and of projects, in Harbor's older and newer shape."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel
from sqlalchemy import Connection

from seawall.access import access as decide
from seawall.access import members
from seawall.access.rbac import role_allows
from seawall.features.audit import log as audit
from seawall.features.audit.trail import EVENT_TYPES
from seawall.web.harbor.deps import (
    Access,
    ListingDep,
    named_project_access,
    signed_in,
    system_access,
    timestamp,
)
from seawall.web.harbor.needs import Db
from seawall.web.harbor.query import Listing
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["auditlog"])


class AuditLog(BaseModel):
    """One entry, as Harbor has had it from the start."""

    id: int
    username: str
    resource: str
    resource_type: str
    operation: str
    op_time: str | None


class AuditLogExt(AuditLog):
    """One entry with what was done and whether it succeeded."""

    operation_description: str
    operation_result: bool
    client_address: str | None = None


class AuditLogEventType(BaseModel):
    """A kind of event."""

    event_type: str


async def _list(access: Access, db: Db, page: Listing, project_id: int | None) -> list[AuditLogExt]:
    principal = access.principal

    def read_entries(connection: Connection) -> tuple[int, list[Any]]:
        ids: set[int] | None = None
        if project_id is not None:
            ids = {project_id}
        elif not decide.may_system(principal, "audit-log", "list"):
            # Everyone else sees the logs of the projects whose log they may list.
            held = members.roles_held(connection, principal.id, principal.groups)
            user = principal.kind == "user"
            ids = {project for project, role in held if user and role_allows([role], "log", "list")}
            ids = decide.within_limits(connection, principal, ids)
        return audit.list_entries(connection, ids, page)

    total, found = await db.read(read_entries)
    page.total(total)
    return [
        AuditLogExt(
            id=row.id,
            username=row.username,
            resource=row.resource,
            resource_type=row.resource_type,
            operation=row.operation,
            op_time=timestamp(row.at),
            operation_description=row.description,
            operation_result=row.success,
            client_address=row.address or None,
        )
        for row in found
    ]


@router.get("/audit-logs", response_model=list[AuditLog])
async def list_audit_logs(
    access: Annotated[Access, signed_in()], db: Db, page: ListingDep
) -> list[AuditLogExt]:
    """Entries, newest first: all for administrators, else those of projects whose log they may list."""
    return await _list(access, db, page, None)


@router.get("/auditlog-exts")
async def list_audit_log_exts(
    access: Annotated[Access, signed_in()], db: Db, page: ListingDep
) -> list[AuditLogExt]:
    """Like `/audit-logs`, with descriptions and results."""
    return await _list(access, db, page, None)


@router.get("/auditlog-exts/events")
async def list_audit_log_event_types(
    access: Annotated[Access, system_access("audit-log", "list")],
) -> list[AuditLogEventType]:
    """Kinds of events that can be left out of the log."""
    return [AuditLogEventType(event_type=name) for name in EVENT_TYPES]


@router.get("/projects/{project_name}/logs", response_model=list[AuditLog], tags=["project"])
async def get_logs(
    access: Annotated[Access, named_project_access("log", "list")], db: Db, page: ListingDep
) -> list[AuditLogExt]:
    """Entries of a project, newest first."""
    return await _list(access, db, page, access.project.id)


@router.get("/projects/{project_name}/auditlog-exts", tags=["project"])
async def get_log_exts(
    access: Annotated[Access, named_project_access("log", "list")], db: Db, page: ListingDep
) -> list[AuditLogExt]:
    """Entries of a project with descriptions and results, newest first."""
    return await _list(access, db, page, access.project.id)
