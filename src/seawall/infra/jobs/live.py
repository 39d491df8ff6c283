"""Which jobs have moved on, for those who look at what is under way.

Jobs that run are looked at again and again, and those that were made since the last look. A job that leaves
the ones that run has ended or is to be tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from seawall.infra.db import dialect
from seawall.infra.jobs.base import JobKind
from seawall.infra.jobs.tables import jobs
from seawall.infra.live.events import Event

# The event of any job, for the pages about the job service.
JOBS = "job"
# More in one look is not reported one by one.
_MOST = 500
# How far back jobs may become visible that were made before the last look: their transactions took so long.
_LATE_SECONDS = 10.0
_COLUMNS = (jobs.c.id, jobs.c.kind, jobs.c.status, jobs.c.attempts, jobs.c.progress)


@dataclass(frozen=True, slots=True)
class _State:
    since: float
    # What was seen of jobs that run, or are new, by id: their kind and how far they were.
    seen: Mapping[str, tuple[str, tuple[Any, ...]]]


class JobSource:
    """See `seawall.infra.live.events.Source`."""

    def __init__(self, kinds: Callable[[], Mapping[str, JobKind]]) -> None:
        self._kinds = kinds

    def look(self, connection: Connection, state: _State | None) -> tuple[list[Event] | None, _State]:
        """See Source.look."""
        now = dialect.now(connection)
        since = now if state is None else state.since
        running = select(*_COLUMNS).where(jobs.c.status == "running").limit(_MOST + 1)
        fresh = select(*_COLUMNS).where(jobs.c.created_at > since - _LATE_SECONDS)
        rows = [*connection.execute(running), *connection.execute(fresh.limit(_MOST + 1))]
        seen = {row[0]: (row[1], (row[2], row[3], repr(row[4]))) for row in rows}
        new = _State(now, seen)
        if state is None:
            return [], new
        moved = [key for key, what in seen.items() if state.seen.get(key) != what]
        # A job that is neither running nor new any more may have ended, or have grown old unchanged.
        moved += [key for key, (_, far) in state.seen.items() if key not in seen and far[0] == "running"]
        if len(moved) > _MOST or len(rows) > _MOST:
            return None if moved else [], new
        return self._events(connection, moved), new

    def _events(self, connection: Connection, moved: list[str]) -> list[Event]:
        if not moved:
            return []
        query = select(jobs.c.id, jobs.c.kind, jobs.c.args).where(jobs.c.id.in_(moved))
        by_kind: dict[str, dict[str, Any]] = {}
        for job_id, kind, args in connection.execute(query):
            by_kind.setdefault(kind, {})[job_id] = args
        events = [Event(JOBS)]
        kinds = self._kinds()
        for kind, found in by_kind.items():
            shows = kinds[kind].shows if kind in kinds else None
            if shows is not None:
                events += shows(connection, found).values()
        return events
