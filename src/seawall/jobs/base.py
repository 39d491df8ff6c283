"""The jobs interface: what other domains may ask of the engine, and how they give it work.

A job kind is a coroutine registered with `@job("kind")`. It gets a `JobContext` and the arguments it was
enqueued with (JSON-able), and returns a JSON-able result. A job may run again from the start after a crash
("at least once"), so it must be idempotent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from seawall.services import Services


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as the engine knows it. Times are Unix seconds.

    `status` is one of pending, running, success, error, stopped (Harbor shows them as Pending, Running,
    Success, Error, Stopped).
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


class JobStoppedError(Exception):
    """Raised inside a job by `JobContext.checkpoint` when somebody asked for its stop."""


class JobContext(Protocol):
    """What a running job has."""

    id: str
    services: Services

    async def log(self, message: str) -> None:
        """Append a line to the job's stored log (time and level are added)."""

    async def checkpoint(self) -> None:
        """Raise JobStoppedError when the job was asked to stop. Call it between units of work."""


JobFunction = Callable[[JobContext, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A registered kind: how many of it may run at once in the whole cluster, and how often it is retried."""

    name: str
    function: JobFunction
    concurrency: int = 4
    retries: int = 0


@dataclass(slots=True)
class Registry:
    """Every job kind of this process."""

    kinds: dict[str, JobKind] = field(default_factory=dict)


registry = Registry()


def job(name: str, *, concurrency: int = 4, retries: int = 0) -> Callable[[JobFunction], JobFunction]:
    """Register a coroutine as the job kind `name`; its module is imported by `seawall.services`."""

    def register(function: JobFunction) -> JobFunction:
        registry.kinds[name] = JobKind(name, function, concurrency, retries)
        return function

    return register


class Jobs(Protocol):
    """The engine, as seen by services and the API."""

    async def enqueue(
        self, kind: str, args: dict[str, Any], *, key: str | None = None, delay_seconds: float = 0
    ) -> str:
        """Start a job and return its id; a second call with the same `key` returns the id of the first."""

    async def get(self, job_id: str) -> JobInfo | None:
        """One job, None when unknown."""

    async def list(
        self, *, kind: str | None = None, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[JobInfo]:
        """Jobs, newest first."""

    async def stop(self, job_id: str) -> bool:
        """Ask a job to stop, at its next checkpoint or before it starts; False when it is over or unknown."""

    async def log(self, job_id: str) -> str:
        """The stored log as text."""

    async def set_schedule(self, name: str, cron: str | None, kind: str, args: dict[str, Any]) -> None:
        """Run `kind` by `cron` (six fields, seconds first, like Harbor; UTC), once for the whole cluster.

        `cron` None removes the schedule. Raises InvalidError for a malformed expression.
        """
