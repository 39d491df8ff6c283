"""What a room adds to a process: its jobs, schedules, subscriptions and work in the background.

A feature has a function `part(...)` in its `part.py` whose signature says all that the feature needs. The
composition root (`seawall.process.wiring`) calls it and hands the result to the machinery: kinds of jobs
to the job service, subscriptions to the outbox, background work to the process. What takes part in content
as well gives a `seawall.registry.part.ContentPart`, which has hooks too.

    def part(db: Database, settings: JobSettings) -> Part:
        janitor = Janitor(db, settings.keep_days)
        return Part(jobs=(JobKind("sweep", janitor.sweep, concurrency=1),))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from seawall.infra.jobs.base import DefaultSchedule, JobKind
from seawall.infra.outbox.events import Subscription

# Runs until it is cancelled; started again when it fails.
Background = Callable[[], Awaitable[None]]
# Called once when the process ends.
Closer = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one room adds to a process. Closers of later parts run first."""

    jobs: tuple[JobKind, ...] = ()
    schedules: tuple[DefaultSchedule, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    background: tuple[Background, ...] = ()
    closers: tuple[Closer, ...] = ()
