"""The jobs interface: what other domains may ask of the engine, and how they give it work.

A `JobKind` has a name and the coroutine function that does the work, usually a method of an object that was
made with what the work needs. It gets a `JobContext` and the arguments it was enqueued with (JSON-able), and
returns a JSON-able result. A job may run again from the start after a crash ("at least once"), so it must be
idempotent. A feature lists its kinds in its part (`seawall.infra.part.Part`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection

from seawall.infra.db.together import Also, nothing
from seawall.infra.live.events import Shows
from seawall.kernel.errors import SeawallError

FINISHED = frozenset({"success", "error", "stopped"})
STATUSES = FINISHED | {"pending", "running"}


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as the engine knows it. Times are Unix seconds.

    `status` is one of pending, running, success, error, stopped (Harbor shows them as Pending, Running,
    Success, Error, Stopped). `trigger` is manual, schedule or event; `schedule` names the schedule that
    started it. `run_at`: not to start before. `runner`: id of the process that has it.
    """

    id: str
    kind: str
    status: str
    args: dict[str, Any]
    result: Any = None
    error: str | None = None
    created_at: float = 0
    started_at: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    progress: Any = None
    trigger: str = "manual"
    schedule: str | None = None
    run_at: float = 0
    runner: str | None = None
    stop_requested: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron schedule: six fields (seconds first), UTC; `next_at` is the next time it fires."""

    name: str
    cron: str
    kind: str
    args: dict[str, Any]
    next_at: float
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class DefaultSchedule:
    """A schedule that is there from the start until somebody changes or removes it; see `Schedule`."""

    name: str
    cron: str
    kind: str
    args: dict[str, Any] = field(default_factory=dict)


class JobStoppedError(Exception):
    """Raised inside a job by `JobContext.checkpoint` when somebody asked for its stop."""


class JobFailedError(SeawallError):
    """Ends a job as failed whatever its kind's retries: another attempt would change nothing."""


class JobContext(Protocol):
    """What a running job has. `attempt` counts from 1, over retries and takeovers."""

    id: str
    attempt: int

    async def log(self, message: str, level: str = "INFO") -> None:
        """Append a line to the job's stored log (time and level are added)."""

    async def checkpoint(self) -> None:
        """Raise JobStoppedError when the job was asked to stop. Call it between units of work."""

    async def progress(self, value: Any) -> None:
        """Store how far the job is (JSON-able), shown as `JobInfo.progress`."""


JobFunction = Callable[[JobContext, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job: its work, how many may run at once in the whole cluster, and how often it is retried.

    `backoff_seconds` is the wait before the first retry; it doubles with each, up to an hour. `shows` gives
    the events of event streams when a job moves on.
    """

    name: str
    work: JobFunction
    concurrency: int = 4
    retries: int = 0
    backoff_seconds: float = 5
    shows: Shows | None = None


class Jobs(Protocol):
    """The engine, as seen by services and the API."""

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
        """Start a job and return its id; a second call with the same `key` returns the id of the first."""

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
        """`enqueue` inside the caller's transaction: the job exists if that commits, and not otherwise."""

    async def get(self, job_id: str) -> JobInfo | None:
        """One job, None when unknown."""

    async def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        schedule: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[JobInfo]:
        """Jobs, newest first."""

    async def count(
        self, *, kind: str | None = None, status: str | None = None, schedule: str | None = None
    ) -> int:
        """How many jobs `list` would find without a limit."""

    async def stop(self, job_id: str, *, also: Also = nothing) -> bool:
        """Ask a job to stop, at its next checkpoint or before it starts; False when it is over or unknown."""

    async def log(self, job_id: str) -> str:
        """The stored log as text."""

    async def set_schedule(
        self, name: str, cron: str | None, kind: str, args: dict[str, Any], *, also: Also = nothing
    ) -> None:
        """Run `kind` by `cron` (six fields, seconds first, like Harbor; UTC), once for the whole cluster.

        `cron` None removes the schedule. Raises InvalidError for a malformed expression.
        """

    async def get_schedule(self, name: str) -> Schedule | None:
        """One schedule, None when unknown."""

    async def schedules(self) -> Sequence[Schedule]:
        """All schedules, by name."""
