"""Events of scans and exports, for event streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, exists, not_, select

from seawall.access.views import users
from seawall.features.scan.tables import scan_exports, scan_reports
from seawall.infra.live.events import Event
from seawall.registry.views import repositories


def of_reports(connection: Connection, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Event]:
    """The repositories of the artifacts that are scanned."""
    wanted = {args.get("report"): job_id for job_id, args in jobs.items()}
    query = (
        select(scan_reports.c.uuid, repositories.c.project_id, repositories.c.name)
        .join(repositories, repositories.c.id == scan_reports.c.repository_id)
        .where(scan_reports.c.uuid.in_([key for key in wanted if key]))
    )
    return {wanted[row[0]]: Event("scan", row[1], row[2]) for row in connection.execute(query)}


def of_exports(connection: Connection, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Event]:
    """Exports are shown to their owners."""
    wanted = {args.get("export"): job_id for job_id, args in jobs.items()}
    # The export of a robot has the robot's id, which may be that of a user too.
    another = exists().where(
        users.c.id == scan_exports.c.user_id, users.c.username != scan_exports.c.user_name
    )
    query = select(scan_exports.c.id, scan_exports.c.user_id).where(
        scan_exports.c.id.in_([key for key in wanted if key is not None]), not_(another)
    )
    return {
        wanted[row[0]]: Event("export", execution=row[0], user_id=row[1]) for row in connection.execute(query)
    }
