"""What each project stored on each day, for charts.

A job writes one row a project late on each day, and a process writes them at its start if the day has none.
The figure of today is never read from the rows: it is what the projects store now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, delete, func, literal, literal_column, select

from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.db.dialect import now, upsert_from
from seawall.infra.jobs.base import DefaultSchedule, JobContext, JobKind
from seawall.infra.part import Part
from seawall.kernel.errors import UnavailableError
from seawall.registry import quota_lists
from seawall.registry.ledger import USED
from seawall.registry.tables import quotas, storage_days

log: Any = structlog.get_logger("seawall.history")

SCHEDULE = "system:storage-history"
KIND = "storage-history"
KEEP_DAYS = 400
LARGEST = 10
_DAY = 86400
# (day, bytes stored), oldest first.
Days = list[tuple[date, int]]


@dataclass(frozen=True, slots=True)
class ProjectDays:
    """One project's storage by day."""

    project_id: int
    name: str
    days: Days


def today(connection: Connection) -> int:
    """The day (since 1970-01-01, UTC) by the database's clock."""
    return int(now(connection) // _DAY)


def record(connection: Connection) -> int:
    """Write what each project stores now as the figure of today, delete old days; returns today."""
    day = today(connection)
    # The condition holds for each row. Without one SQLite takes ON CONFLICT for part of a join.
    query = select(quotas.c.project_id, literal(day), USED).where(quotas.c.project_id.is_not(None))
    names = ["project_id", "day", "used"]
    again: dict[str, Any] = {"used": literal_column("excluded.used")}
    connection.execute(upsert_from(connection, storage_days, names, query, names[:2], again))
    connection.execute(delete(storage_days).where(storage_days.c.day <= day - KEEP_DAYS))
    return day


def of_project(connection: Connection, project_id: int, days: int) -> Days:
    """What a project stored on each of the last `days` days that have a figure; today's is last."""
    day = today(connection)
    used = connection.execute(select(USED).where(quotas.c.project_id == project_id)).scalar() or 0
    return [*_stored(connection, [project_id], day, days).get(project_id, []), (_date(day), int(used))]


def of_all(connection: Connection, days: int) -> tuple[Days, list[ProjectDays]]:
    """The same for all projects together, and for each of those that store most now."""
    day = today(connection)
    table = storage_days.c
    sums = connection.execute(
        select(table.day, func.sum(table.used))
        .where(table.day > day - days, table.day < day)
        .group_by(table.day)
        .order_by(table.day)
    )
    total = [(_date(row[0]), int(row[1])) for row in sums]
    total.append((_date(day), quota_lists.total_used(connection)))
    largest = connection.execute(
        select(projects.c.id, projects.c.name, USED)
        .select_from(projects.join(quotas, quotas.c.project_id == projects.c.id))
        .order_by(USED.desc(), projects.c.id)
        .limit(LARGEST)
    ).all()
    before = _stored(connection, [row[0] for row in largest], day, days)
    return total, [
        ProjectDays(row[0], row[1], [*before.get(row[0], []), (_date(day), int(row[2]))]) for row in largest
    ]


def _stored(connection: Connection, ids: Iterable[int], day: int, days: int) -> dict[int, Days]:
    """The rows before `day` by project."""
    table = storage_days.c
    found: dict[int, Days] = {}
    for project_id, at, used in connection.execute(
        select(table.project_id, table.day, table.used)
        .where(table.project_id.in_(ids), table.day > day - days, table.day < day)
        .order_by(table.day)
    ):
        found.setdefault(project_id, []).append((_date(at), int(used)))
    return found


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * _DAY, UTC).date()


def _is_recorded(connection: Connection) -> bool:
    here = select(storage_days.c.day).where(storage_days.c.day == today(connection)).limit(1)
    return connection.execute(here).first() is not None


class History:
    """Writes the figures."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """The job: write today's figures. A second run of the day takes their place."""
        day = await self._db.write(record, durable=False)
        return {"day": _date(day).isoformat()}

    async def begin(self) -> None:
        """At a start: write today's figures if nobody has yet, so that this day has some."""
        try:
            if not await self._db.read(_is_recorded):
                await self._db.write(record, durable=False)
        except UnavailableError as error:
            # The database is away, or this is a standby. The job writes them later.
            log.debug("storage of today is not recorded", reason=str(error))


def part(db: Database) -> Part:
    """Record what projects store, once a day."""
    history = History(db)
    return Part(
        jobs=(JobKind(KIND, history.run, concurrency=1, retries=2),),
        schedules=(DefaultSchedule(SCHEDULE, "0 50 23 * * *", KIND),),
        background=(history.begin,),
    )
