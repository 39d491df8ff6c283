"""The audit log as lists show it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, false, select

from seawall.features.audit.tables import audit_log
from seawall.infra.db.listing import Field, Fields, Page

_FIELDS: Fields = {
    "username": Field(audit_log.c.username),
    "resource": Field(audit_log.c.resource),
    "resource_type": Field(audit_log.c.resource_type),
    "operation": Field(audit_log.c.operation),
    "operation_description": Field(audit_log.c.description),
    "operation_result": Field(audit_log.c.success, "bool"),
    "op_time": Field(audit_log.c.at, "time"),
    "project_id": Field(audit_log.c.project_id, "int"),
    "id": Field(audit_log.c.id, "int"),
}


def list_entries(
    connection: Connection, project_ids: Collection[int] | None, page: Page
) -> tuple[int, list[Any]]:
    """Entries of these projects, or (None) all of them, newest first."""
    query = select(audit_log)
    if project_ids is not None:
        query = query.where(audit_log.c.project_id.in_(project_ids) if project_ids else false())
    return page.fetch(connection, query, _FIELDS, audit_log.c.id.desc())
