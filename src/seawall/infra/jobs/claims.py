"""A runner's work in the database: due jobs, the jobs of dead runners, schedules whose time has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, case, delete, exists, func, or_, select, update

from seawall.infra.db import dialect
from seawall.infra.jobs.service import LEASE_SECONDS, SCHEDULER, insert_job
from seawall.infra.jobs.tables import job_queues, job_runners, job_schedules, jobs
from seawall.kernel.cron import next_time
from seawall.kernel.errors import InvalidError

log: Any = structlog.get_logger("seawall.infra.jobs")


# A job whose runner died this often is probably what kills it.
MAX_TAKEOVERS = 5


# A schedule whose cron cannot be read is looked at again after this time.
BAD_SCHEDULE_SECONDS = 3600.0


def move_heartbeat(connection: Connection, runner: str) -> int:
    """Say that a runner is alive; 0 when it has been taken for dead."""
    return connection.execute(
        update(job_runners).where(job_runners.c.id == runner).values(heartbeat_at=dialect.now(connection))
    ).rowcount


class Claimed(NamedTuple):
    """A job that a runner has taken; `trace`: the `traceparent` of the change that made it."""

    id: str
    kind: str
    args: dict[str, Any]
    attempt: int
    trace: str | None


class Found:
    """What `look` found: whether jobs, schedules or dead runners wait, and the ids of jobs to stop."""

    __slots__ = ("kinds", "orphans", "schedules", "stops")

    def __init__(self, kinds: bool, schedules: bool, orphans: bool, stops: list[str]) -> None:
        self.kinds = kinds
        self.schedules = schedules
        self.orphans = orphans
        self.stops = stops


def look(connection: Connection, kinds: list[str], running: list[str]) -> Found:
    """What there is to do, by index look-ups only."""
    # Asked twice a second by each runner, so all of it is one statement. A clock that is steady within a
    # statement lets PostgreSQL use the indexes.
    now = dialect.clock(connection, began=True)
    due = exists().where(jobs.c.status == "pending", jobs.c.run_at <= now, jobs.c.kind.in_(kinds))
    held = exists().where(job_queues.c.kind == SCHEDULER, job_queues.c.paused)
    schedules = exists().where(job_schedules.c.next_at <= now, job_schedules.c.enabled, ~held)
    dead = exists().where(job_runners.c.heartbeat_at < now - LEASE_SECONDS)
    orphan = exists().where(
        jobs.c.status == "running", ~exists(select(job_runners.c.id).where(job_runners.c.id == jobs.c.runner))
    )
    stops: list[str] = []
    if running:
        stops = list(
            connection.execute(
                select(jobs.c.id).where(jobs.c.id.in_(running), jobs.c.stop_requested)
            ).scalars()
        )
    found = connection.execute(select(due, schedules, or_(dead, orphan))).one()
    return Found(bool(found[0]), bool(found[1]), bool(found[2]), stops)


def fire_schedules(connection: Connection, leads_elsewhere: Callable[[Connection], bool]) -> None:
    """Enqueue each due schedule once and move it on; times missed while nobody ran are made up by one run."""
    now = dialect.now(connection)
    rows = connection.execute(
        select(job_schedules.c.name, job_schedules.c.cron, job_schedules.c.kind, job_schedules.c.args)
        .where(job_schedules.c.next_at <= now, job_schedules.c.enabled)
        .order_by(job_schedules.c.name)
        .with_for_update(skip_locked=True)
    ).all()
    elsewhere = rows and leads_elsewhere(connection)
    for name, cron, kind, args in rows:
        try:
            next_at = next_time(cron, now)
        except InvalidError as error:
            # Written by hand, or by a version that took it: the others must go on.
            log.error("a schedule cannot be used", schedule=name, cron=cron, error=str(error))
            next_at = now + BAD_SCHEDULE_SECONDS
            connection.execute(
                update(job_schedules).where(job_schedules.c.name == name).values(next_at=next_at)
            )
            continue
        # What changes or copies content that peers have too is for one of them to do.
        if not (elsewhere and name.startswith(("retention:", "replication:", "preheat:"))):
            insert_job(connection, kind, args, trigger="schedule", schedule=name, now=now)
        connection.execute(update(job_schedules).where(job_schedules.c.name == name).values(next_at=next_at))


def take_over(connection: Connection) -> None:
    """Make the jobs of dead runners pending again."""
    now = dialect.now(connection)
    dead = list(
        connection.execute(
            select(job_runners.c.id)
            .where(job_runners.c.heartbeat_at < now - LEASE_SECONDS)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if dead:
        connection.execute(delete(job_runners).where(job_runners.c.id.in_(dead)))
    worn_out = jobs.c.takeovers >= MAX_TAKEOVERS
    stopped = jobs.c.stop_requested
    connection.execute(
        update(jobs)
        .where(jobs.c.status == "running", ~exists().where(job_runners.c.id == jobs.c.runner))
        .values(
            status=case((stopped, "stopped"), (worn_out, "error"), else_="pending"),
            error=case((worn_out, f"its runner died {MAX_TAKEOVERS + 1} times"), else_=jobs.c.error),
            ended_at=case((stopped | worn_out, now), else_=None),
            takeovers=jobs.c.takeovers + 1,
            run_at=now,
            runner=None,
        )
    )


def claim(connection: Connection, runner: str, kinds: dict[str, int], free: int) -> list[Claimed] | None:
    """Take up to `free` due jobs; None when the runner itself is gone."""
    # The lock orders this against a takeover that is about to declare this runner dead.
    alive = connection.execute(
        select(job_runners.c.id).where(job_runners.c.id == runner).with_for_update()
    ).first()
    if alive is None:
        return None
    now = dialect.now(connection)
    due = [jobs.c.status == "pending", jobs.c.run_at <= now]
    waiting = connection.execute(
        select(jobs.c.kind, func.min(jobs.c.run_at))
        .where(*due, jobs.c.kind.in_(kinds))
        .group_by(jobs.c.kind)
        .order_by(func.min(jobs.c.run_at))
    ).all()
    # Rows are locked in one order, so that two runners cannot deadlock.
    open_kinds = set(
        connection.execute(
            select(job_queues.c.kind)
            .where(job_queues.c.kind.in_([row[0] for row in waiting]), ~job_queues.c.paused)
            .order_by(job_queues.c.kind)
            .with_for_update()
        ).scalars()
    )
    taken: list[Claimed] = []
    for kind, _ in waiting:
        if kind not in open_kinds:
            continue
        busy = connection.execute(
            select(func.count()).select_from(jobs).where(jobs.c.status == "running", jobs.c.kind == kind)
        ).scalar_one()
        room = min(kinds[kind] - int(busy), free - len(taken))
        if room <= 0:
            continue
        rows = connection.execute(
            select(jobs.c.id, jobs.c.args, jobs.c.attempts, jobs.c.trace)
            .where(*due, jobs.c.kind == kind)
            .order_by(jobs.c.run_at, jobs.c.created_at)
            .limit(room)
            .with_for_update(skip_locked=True)
        ).all()
        for job_id, args, attempts, trace in rows:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(status="running", runner=runner, started_at=now, ended_at=None, attempts=attempts + 1)
            )
            taken.append(Claimed(job_id, kind, args, attempts + 1, trace))
    return taken
