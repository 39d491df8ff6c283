"""The jobs service: everything about jobs but running them (see `seawall.infra.jobs.runner`).

All state is in the database, so any process may ask or tell. Times come from the database's clock
(`clock`), so instances whose clocks differ agree on what is due and on who is alive.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, delete, func, insert, select, update

from seawall.infra import tracing
from seawall.infra.db import Database, dialect
from seawall.infra.db.dialect import upsert
from seawall.infra.db.listing import Condition, Field, Fields, Page, contains
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.base import FINISHED, DefaultSchedule, JobInfo, JobKind, Schedule
from seawall.infra.jobs.tables import job_logs, job_numbers, job_queues, job_runners, job_schedules, jobs
from seawall.kernel.cron import next_time
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.kernel.spelling import did_you_mean

# Stored log of one job: beyond this, lines are dropped and the last one says so.
LOG_LIMIT = 4 * 1024 * 1024
# A runner that has not reported for this long is dead.
LEASE_SECONDS = 8.0
# The queue name whose pause switch holds every cron schedule.
SCHEDULER = "scheduler"


def _in_status(condition: Condition) -> ColumnElement[bool]:
    # The API writes them with a capital.
    if condition.operator == "fuzzy":
        return contains(jobs.c.status, condition.value)
    return jobs.c.status.in_([value.lower() for value in condition.values])


# What lists of runs are searched and sorted by, with Harbor's names.
_FIELDS: Fields = {
    "status": _in_status,
    "trigger": Field(func.upper(jobs.c.trigger)),
    "creation_time": Field(jobs.c.created_at, "time"),
    "start_time": Field(jobs.c.created_at, "time"),
    "update_time": Field(func.coalesce(jobs.c.ended_at, jobs.c.started_at, jobs.c.created_at), "time"),
    "end_time": Field(jobs.c.ended_at, "time"),
}


@dataclass(frozen=True, slots=True)
class RunnerInfo:
    """A live process that runs jobs: where, how many at once (`slots`), since when; times in Unix seconds."""

    id: str
    host: str
    pid: int
    version: str
    slots: int
    started_at: float
    heartbeat_at: float


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """The waiting jobs of one kind: how many, seconds the oldest due one has waited, paused or not."""

    kind: str
    count: int
    latency_seconds: float
    paused: bool


_COLUMNS = (
    jobs.c.id,
    jobs.c.kind,
    jobs.c.status,
    jobs.c.args,
    jobs.c.result,
    jobs.c.error,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.ended_at,
    jobs.c.attempts,
    jobs.c.progress,
    jobs.c.trigger,
    jobs.c.schedule,
    jobs.c.run_at,
    jobs.c.runner,
    jobs.c.stop_requested,
)


class JobService:
    """See `seawall.infra.jobs.base.Jobs`, which this implements; more for the API of the job service."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.kinds: dict[str, JobKind] = {}
        # Called after a commit that made work, on the event loop; a runner in the same process listens.
        self.nudges: list[Callable[[], None]] = []
        self.defaults: dict[str, DefaultSchedule] = {}

    def register(self, kinds: Iterable[JobKind], schedules: Iterable[DefaultSchedule] = ()) -> None:
        """Learn of kinds of jobs and of default schedules; when the process is put together."""
        self.kinds.update((item.name, item) for item in kinds)
        self.defaults.update((item.name, item) for item in schedules)

    # -- jobs ---------------------------------------------------------------------------------------

    async def enqueue(
        self,
        kind: str,
        args: dict[str, Any],
        *,
        key: str | None = None,
        delay_seconds: float = 0,
        trigger: str = "manual",
        also: Also = nothing,
    ) -> str:
        """See Jobs.enqueue. Raises NotFoundError for an unknown kind."""
        job_id = await self.db.write(
            lambda c: self.enqueue_in(c, kind, args, key=key, delay_seconds=delay_seconds, trigger=trigger),
            also=also,
        )
        self.nudge()
        return job_id

    def enqueue_in(
        self,
        connection: Connection,
        kind: str,
        args: dict[str, Any],
        *,
        key: str | None = None,
        delay_seconds: float = 0,
        trigger: str = "manual",
    ) -> str:
        """See Jobs.enqueue_in. Raises NotFoundError for an unknown kind."""
        if kind not in self.kinds:
            raise self.unknown(kind)
        if key is not None and len(key) > 255:
            raise InvalidError("a job's key has at most 255 characters")
        return insert_job(connection, kind, args, key=key, delay_seconds=delay_seconds, trigger=trigger)

    def unknown(self, kind: str) -> NotFoundError:
        """What to raise for a kind that nobody runs."""
        hint = did_you_mean(kind, self.kinds) or f"; there are {', '.join(sorted(self.kinds))}"
        return NotFoundError(f"no job kind {kind[:64]!r}{hint}")

    async def get(self, job_id: str) -> JobInfo | None:
        """See Jobs.get."""

        def read_job(connection: Connection) -> JobInfo | None:
            row = connection.execute(select(*_COLUMNS).where(jobs.c.id == job_id)).first()
            return JobInfo(*row) if row else None

        return await self.db.read(read_job)

    async def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        schedule: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[JobInfo]:
        """See Jobs.list."""
        query = _matching(select(*_COLUMNS), kind, status, schedule)
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit).offset(offset)
        return await self.db.read(lambda c: [JobInfo(*row) for row in c.execute(query)])

    async def page(self, kind: str, page: Page) -> tuple[int, Sequence[JobInfo]]:
        """How many jobs of a kind there are, newest first those of a page."""
        query = select(*_COLUMNS).where(jobs.c.kind == kind)
        newest = jobs.c.created_at.desc(), jobs.c.id
        total, rows = await self.db.read(lambda c: page.fetch(c, query, _FIELDS, *newest, key=jobs.c.id))
        return total, [JobInfo(*row) for row in rows]

    async def count(
        self, *, kind: str | None = None, status: str | None = None, schedule: str | None = None
    ) -> int:
        """See Jobs.count."""
        query = _matching(select(func.count()).select_from(jobs), kind, status, schedule)
        return await self.db.read(lambda c: int(c.execute(query).scalar_one()))

    async def numbers(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The numbers of jobs, by id."""
        query = select(job_numbers.c.job_id, job_numbers.c.id).where(job_numbers.c.job_id.in_(job_ids))
        return await self.db.read(lambda c: {row[0]: row[1] for row in c.execute(query)})

    async def by_number(self, number: int, kind: str) -> JobInfo | None:
        """The job of a kind that has this number."""
        query = select(*_COLUMNS).join(job_numbers, job_numbers.c.job_id == jobs.c.id)
        query = query.where(job_numbers.c.id == number, jobs.c.kind == kind)

        def read_job(connection: Connection) -> JobInfo | None:
            row = connection.execute(query).first()
            return JobInfo(*row) if row else None

        return await self.db.read(read_job)

    async def stop(self, job_id: str, *, also: Also = nothing) -> bool:
        """See Jobs.stop."""
        return await self.db.write(lambda c: bool(_stop(c, jobs.c.id == job_id)), also=also)

    async def stop_all(self, kind: str, *, pending_only: bool = False, also: Also = nothing) -> int:
        """Stop every job of a kind that is not over; returns how many."""
        condition = jobs.c.kind == kind
        if pending_only:
            condition &= jobs.c.status == "pending"
        return await self.db.write(lambda c: _stop(c, condition), also=also)

    async def log(self, job_id: str) -> str:
        """See Jobs.log."""
        query = select(job_logs.c.text).where(job_logs.c.job_id == job_id).order_by(job_logs.c.id)
        return await self.db.read(lambda c: "".join(c.execute(query).scalars()))

    async def purge(self, *, older_than_seconds: float, kind: str | None = None) -> int:
        """Forget jobs that ended longer ago than that, with their logs; returns how many."""
        total = 0
        while True:

            def delete_batch(connection: Connection) -> int:
                query = select(jobs.c.id).where(
                    jobs.c.status.in_(FINISHED),
                    jobs.c.ended_at < dialect.now(connection) - older_than_seconds,
                )
                if kind is not None:
                    query = query.where(jobs.c.kind == kind)
                ids = list(connection.execute(query.limit(500)).scalars())
                if ids:
                    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
                return len(ids)

            done = await self.db.write(delete_batch)
            total += done
            if done < 500:
                return total

    # -- schedules ----------------------------------------------------------------------------------

    async def set_schedule(
        self, name: str, cron: str | None, kind: str, args: dict[str, Any], *, also: Also = nothing
    ) -> None:
        """See Jobs.set_schedule."""
        await self.db.write(lambda c: self.set_schedule_in(c, name, cron, kind, args), also=also)
        self.nudge()

    def set_schedule_in(
        self,
        connection: Connection,
        name: str,
        cron: str | None,
        kind: str,
        args: dict[str, Any],
    ) -> None:
        """`set_schedule` inside the caller's transaction."""
        here = job_schedules.c.name == name
        if cron is None:
            if name in self.defaults:
                connection.execute(update(job_schedules).where(here).values(enabled=False))
            else:
                connection.execute(delete(job_schedules).where(here))
            return
        if kind not in self.kinds:
            raise self.unknown(kind)
        now = dialect.now(connection)
        values = {"cron": cron, "kind": kind, "args": args, "next_at": next_time(cron, now), "enabled": True}
        old = connection.execute(
            select(job_schedules.c.cron, job_schedules.c.next_at).where(here, job_schedules.c.enabled)
        ).first()
        if old is not None and old[0] == cron:
            # Set again unchanged (at every start, say): must not put off a time that is due.
            values["next_at"] = old[1]
        values["updated_at"] = now
        row = {"name": name, **values, "created_at": now}
        connection.execute(upsert(connection, job_schedules, row, "name", values))

    async def install_defaults(self) -> dict[str, str]:
        """Write the default schedules that nobody has set or removed yet.

        Each is written by itself: one that cannot be used keeps out no other. Returns why, by name.
        """
        refused: dict[str, str] = {}
        known = await self.db.read(lambda c: set(c.execute(select(job_schedules.c.name)).scalars()))
        for name in sorted(self.defaults.keys() - known):
            item = self.defaults[name]
            try:
                await self.set_schedule(name, item.cron, item.kind, item.args)
            except (InvalidError, NotFoundError) as error:
                refused[name] = str(error)
        return refused

    async def get_schedule(self, name: str) -> Schedule | None:
        """See Jobs.get_schedule."""
        found = [item for item in await self.schedules() if item.name == name]
        return found[0] if found else None

    async def schedules(self) -> Sequence[Schedule]:
        """See Jobs.schedules."""
        columns: Any = [job_schedules.c[key] for key in ("name", "cron", "kind", "args", "next_at")]
        query: Any = select(*columns, job_schedules.c.created_at, job_schedules.c.updated_at)
        query = query.where(job_schedules.c.enabled)
        return await self.db.read(
            lambda c: [Schedule(*row) for row in c.execute(query.order_by(job_schedules.c.name))]
        )

    # -- queues and runners -------------------------------------------------------------------------

    async def queues(self) -> Sequence[QueueInfo]:
        """Every kind this version knows or that has waiting jobs."""

        def read_queues(connection: Connection) -> Sequence[QueueInfo]:
            now = dialect.now(connection)
            waiting = {
                kind: (count, max(0.0, now - oldest))
                for kind, count, oldest in connection.execute(
                    select(jobs.c.kind, func.count(), func.min(jobs.c.run_at))
                    .where(jobs.c.status == "pending")
                    .group_by(jobs.c.kind)
                )
            }
            paused = dict(connection.execute(select(job_queues.c.kind, job_queues.c.paused)).all())
            return [
                QueueInfo(kind, *waiting.get(kind, (0, 0.0)), bool(paused.get(kind)))
                for kind in sorted({*self.kinds, *waiting, SCHEDULER})
            ]

        return await self.db.read(read_queues)

    async def pause(self, kind: str, paused: bool, *, also: Also = nothing) -> None:
        """Stop (or go on) handing out jobs of a kind, in the whole cluster. Raises NotFoundError."""
        if kind not in self.kinds and kind != SCHEDULER:
            raise self.unknown(kind)
        await self.db.write(
            lambda c: c.execute(upsert(c, job_queues, {"kind": kind, "paused": paused}, "kind", ["paused"])),
            also=also,
        )
        self.nudge()

    async def paused(self, kind: str) -> bool:
        """Whether the queue of a kind is paused."""
        query = select(job_queues.c.paused).where(job_queues.c.kind == kind)
        return await self.db.read(lambda c: bool(c.execute(query).scalar()))

    async def runners(self) -> Sequence[RunnerInfo]:
        """The live runners, oldest first."""
        columns: Any = [job_runners.c[key] for key in ("id", "host", "pid", "version", "slots")]

        def read_runners(connection: Connection) -> Sequence[RunnerInfo]:
            rows: Any = connection.execute(
                select(*columns, job_runners.c.started_at, job_runners.c.heartbeat_at)
                .where(job_runners.c.heartbeat_at > dialect.now(connection) - LEASE_SECONDS)
                .order_by(job_runners.c.started_at)
            )
            return [RunnerInfo(*row) for row in rows]

        return await self.db.read(read_runners)

    def nudge(self) -> None:
        """Tell a runner in this process that there may be work."""
        for listener in self.nudges:
            listener()


def insert_job(
    connection: Connection,
    kind: str,
    args: dict[str, Any],
    *,
    key: str | None = None,
    delay_seconds: float = 0,
    trigger: str = "manual",
    schedule: str | None = None,
    now: float | None = None,
) -> str:
    """Write a pending job and return its id, or that of the job which has `key` already."""
    json.dumps(args)  # a TypeError belongs to the caller, not to the runner
    now = dialect.now(connection) if now is None else now
    job_id = str(uuid.uuid4())
    row = {
        "id": job_id,
        "kind": kind,
        "status": "pending",
        "args": args,
        "dedup_key": key,
        "trigger": trigger,
        "schedule": schedule,
        "created_at": now,
        "run_at": now + delay_seconds,
        "attempts": 0,
        "takeovers": 0,
        "stop_requested": False,
        "trace": tracing.traceparent(),
    }
    connection.execute(upsert(connection, jobs, row, "dedup_key"))
    if key is not None:
        there = str(connection.execute(select(jobs.c.id).where(jobs.c.dedup_key == key)).scalar_one())
        if there != job_id:
            return there
    connection.execute(insert(job_numbers), {"job_id": job_id})
    return job_id


def _matching(query: Select[Any], kind: str | None, status: str | None, schedule: str | None) -> Select[Any]:
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if schedule is not None:
        query = query.where(jobs.c.schedule == schedule)
    return query


def _stop(connection: Connection, condition: Any) -> int:
    now = dialect.now(connection)
    pending = jobs.c.status == "pending"
    return connection.execute(
        update(jobs)
        .where(condition, jobs.c.status.in_(("pending", "running")))
        .values(
            stop_requested=True,
            status=case((pending, "stopped"), else_=jobs.c.status),
            ended_at=case((pending, now), else_=None),
        )
    ).rowcount
