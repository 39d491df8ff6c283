"""Figures of queues, runners and schedules; some under the names of Harbor's exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection, func, select

from seawall.infra.db import dialect
from seawall.infra.jobs.service import LEASE_SECONDS
from seawall.infra.jobs.tables import job_runners, job_schedules, jobs
from seawall.infra.telemetry import Family


def figures(connection: Connection, kinds: Iterable[str], harbors: Callable[[str], str]) -> list[Family]:
    """The figures. `kinds`: those that this version knows; `harbors`: Harbor's name of a kind."""
    now = dialect.now(connection)
    states: dict[str, list[float]] = {kind: [0.0, 0.0, 0.0] for kind in kinds}
    for kind, status, number, oldest in connection.execute(
        select(jobs.c.kind, jobs.c.status, func.count(), func.min(jobs.c.run_at))
        .where(jobs.c.status.in_(("pending", "running")))
        .group_by(jobs.c.kind, jobs.c.status)
    ):
        entry = states.setdefault(kind, [0.0, 0.0, 0.0])
        entry[1 if status == "running" else 0] = float(number)
        if status == "pending":
            entry[2] = max(0.0, now - oldest)
    # Several of our kinds may be one of Harbor's.
    types: dict[str, list[float]] = {}
    for kind, (waiting, running, age) in states.items():
        entry = types.setdefault(harbors(kind), [0.0, 0.0, 0.0])
        entry[0] += waiting
        entry[1] += running
        entry[2] = max(entry[2], age)
    live = job_runners.c.heartbeat_at > now - LEASE_SECONDS
    runners = connection.execute(
        select(job_runners.c.id, job_runners.c.host, job_runners.c.slots).where(live)
    ).all()
    known = sorted(types.items())
    return [
        Family(
            "harbor_task_queue_size",
            "Jobs that wait, by Harbor's job type",
            ("type",),
            tuple(((name,), entry[0]) for name, entry in known),
        ),
        Family(
            "harbor_task_queue_latency",
            "Seconds that the oldest due job has waited, by Harbor's job type",
            ("type",),
            tuple(((name,), entry[2]) for name, entry in known),
        ),
        Family(
            "harbor_task_concurrency",
            "Jobs that run, by Harbor's job type",
            ("type", "pool"),
            tuple(((name, "seawall"), entry[1]) for name, entry in known),
        ),
        Family.single(
            "harbor_task_scheduled_total",
            "Schedules that are switched on",
            float(
                connection.execute(
                    select(func.count()).select_from(job_schedules).where(job_schedules.c.enabled)
                ).scalar_one()
            ),
        ),
        Family(
            "harbor_jobservice_info",
            "Job runners that are alive",
            ("node", "pool", "workers"),
            tuple(((f"{row.host}:{row.id}", "seawall", str(row.slots)), 1.0) for row in runners),
        ),
        Family.single("seawall_job_runners", "Job runners that are alive", float(len(runners))),
        *_schedules(connection, now),
    ]


def _schedules(connection: Connection, now: float) -> list[Family]:
    """Of each kind that has a schedule: when it last succeeded, and how the last run ended."""
    kinds = sorted(
        connection.execute(select(job_schedules.c.kind).where(job_schedules.c.enabled).distinct()).scalars()
    )
    succeeded: list[tuple[tuple[str, ...], float]] = []
    failing: list[tuple[tuple[str, ...], float]] = []
    numbers: list[tuple[tuple[str, ...], float]] = []
    for kind in kinds:
        last = (
            select(jobs.c.status, jobs.c.ended_at, jobs.c.result)
            .where(jobs.c.kind == kind, jobs.c.status.in_(("success", "error")))
            .order_by(jobs.c.created_at.desc())
            .limit(1)
        )
        row = connection.execute(last).first()
        failing.append(((kind,), float(row is not None and row.status == "error")))
        good = connection.execute(last.where(jobs.c.status == "success")).first()
        succeeded.append(((kind,), float(good.ended_at or 0) if good else 0.0))
        if good and kind in ("gc", "scrub") and isinstance(good.result, dict):
            numbers += [
                ((kind, key), float(value))
                for key, value in sorted(good.result.items())
                if isinstance(value, int | float) and not isinstance(value, bool)
            ]
    late = connection.execute(
        select(func.min(job_schedules.c.next_at)).where(job_schedules.c.enabled)
    ).scalar()
    return [
        Family(
            "seawall_job_last_success_timestamp_seconds",
            "When a job of a scheduled kind last succeeded; 0: not within jobs.keep_days",
            ("kind",),
            tuple(succeeded),
        ),
        Family(
            "seawall_job_last_failed",
            "Whether the last job of a scheduled kind failed",
            ("kind",),
            tuple(failing),
        ),
        Family(
            "seawall_job_last_result",
            "Results of the last garbage collection and scrub, by figure",
            ("kind", "figure"),
            tuple(numbers),
        ),
        Family.single(
            "seawall_job_schedule_late_seconds",
            "How late the most overdue schedule is",
            max(0.0, now - late) if late else 0.0,
        ),
    ]
