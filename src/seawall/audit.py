"""The audit log: who changed what, when, from where.

`record` writes an entry in the transaction of the change it tells of. Entries are never changed; the purge
job deletes old ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert

from seawall.context import Actor
from seawall.db.schema import audit_log


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `resource` is its name as a person knows it; `operation` is create, update, delete, ..."""

    operation: str
    resource_type: str
    resource: str
    description: str = ""
    project_id: int | None = None
    success: bool = True


def record(connection: Connection, actor: Actor, *entries: Entry, at: float | None = None) -> None:
    """Write entries in the transaction of `connection`."""
    if not entries:
        return
    connection.execute(
        insert(audit_log),
        [
            {
                "at": at or time.time(),
                "username": actor.name[:511],
                "address": actor.address[:64],
                "operation": entry.operation[:32],
                "resource_type": entry.resource_type[:64],
                "resource": entry.resource[:1024],
                "description": entry.description[:4096],
                "success": entry.success,
                "project_id": entry.project_id,
            }
            for entry in entries
        ],
    )
