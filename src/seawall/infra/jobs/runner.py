"""The runner: takes jobs from the database and runs them, one asyncio task each.

A runner has a row in `job_runners` whose heartbeat it moves forward every two seconds, from a thread of its
own, so that a job which keeps the event loop busy does not look like a death. A runner silent for
LEASE_SECONDS is dead: any other runner deletes its row and makes its jobs pending again, in one
transaction. The dead one, should it come back (it was frozen, or cut off from the database), finds its row
gone and cancels what it was running; it also does so by itself once its lease must have run out. What a job
did is recorded only by the runner that still has it, so a late result of the former one changes nothing.

Jobs of a kind are handed out under the lock of the kind's row in `job_queues`, so that its concurrency
holds for the whole cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import Connection, case, delete, update
from sqlalchemy.exc import StatementError

from seawall import __version__
from seawall.infra import tracing
from seawall.infra.db import dialect
from seawall.infra.db.faults import Fault, classify
from seawall.infra.jobs.base import JobFailedError, JobKind, JobStoppedError
from seawall.infra.jobs.claims import Claimed, claim, fire_schedules, look, move_heartbeat, take_over
from seawall.infra.jobs.running import RunContext, always, flush_often, storable
from seawall.infra.jobs.service import LEASE_SECONDS, JobService
from seawall.infra.jobs.tables import job_queues, job_runners, jobs
from seawall.infra.telemetry import Summary
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import SeawallError

log: Any = structlog.get_logger("seawall.infra.jobs")

BEAT_SECONDS = 2.0
POLL_SECONDS = 0.5
# A job that was asked to stop and reaches no checkpoint in this time is cancelled.
STOP_SECONDS = 30.0
MAX_BACKOFF = 3600.0


_SECONDS = Summary(
    "seawall_job_seconds", "Time of a job's run; status pending: it will be tried again", ["kind", "status"]
)


class Runner:
    """Runs jobs in this process until `drain`."""

    def __init__(
        self,
        service: JobService,
        writable: Callable[[], Awaitable[bool]] = always,
        *,
        slots: int = 10,
        leads_elsewhere: Callable[[Connection], bool] = lambda _: False,
    ) -> None:
        """`writable`: whether this site takes writes (a standby site runs no jobs). `slots`: jobs at once.

        `leads_elsewhere`: whether another cluster (a peer) does what only one of them is to do.
        """
        self.id = str(uuid.uuid4())
        self.slots = slots
        self._leads_elsewhere = leads_elsewhere
        self._service = service
        self._writable = writable
        self._db = service.db
        self._tasks: dict[str, tuple[asyncio.Task[None], RunContext]] = {}
        self._wake = asyncio.Event()
        self._draining = False
        # The runner's row is gone: others have its jobs.
        self._lost = False
        self._last_beat = time.monotonic()
        # When the loop of `run` last went round, and when it last did so with a database that answered.
        self.turned_at = self.reached_at = time.monotonic()
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def running(self) -> int:
        """Jobs under way."""
        return len(self._tasks)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    async def run(self) -> None:
        """Take and run jobs until `drain` is called; survives a database that is away for a while."""
        self._loop = asyncio.get_running_loop()
        self._service.nudges.append(self._wake.set)
        thread = threading.Thread(target=self._beat_thread, name="job-heartbeat", daemon=True)
        registered = False
        try:
            while not self._draining:
                self.turned_at = time.monotonic()
                try:
                    if not await self._writable():
                        self.reached_at = time.monotonic()
                        # Of a standby: its jobs are the active site's, until it is promoted.
                        if self._tasks:
                            self._cancel_all()
                        await asyncio.sleep(1)
                        continue
                    if not registered:
                        await self._register()
                        registered = True
                        if not thread.is_alive():
                            thread.start()
                        log.info("job runner ready", runner=self.id, slots=self.slots)
                    if self._lost:
                        await self._abandon()
                        registered = False
                        continue
                    again = await self._turn()
                    self.reached_at = time.monotonic()
                except Exception as error:
                    log.warning("job runner cannot reach its database", error=_describe(error))
                    await asyncio.sleep(1)
                    continue
                if not again and not self._draining:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
                self._wake.clear()
        finally:
            self._service.nudges.remove(self._wake.set)

    async def drain(self, seconds: float) -> None:
        """Take no more jobs; give running ones `seconds`, then hand them back for another runner."""
        self._draining = True
        self._wake.set()
        tasks = [task for task, _ in self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task, _ in list(self._tasks.values()):
            task.cancel()
        tasks = [task for task, _ in self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self._ended.set()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(
                self._db.write(lambda c: c.execute(delete(job_runners).where(job_runners.c.id == self.id))), 5
            )

    # -- being alive ---------------------------------------------------------------------------------

    async def _register(self) -> None:
        row = {
            "id": self.id,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "version": __version__,
            "slots": self.slots,
        }

        def insert_runner(connection: Connection) -> None:
            now = dialect.now(connection)
            values = {**row, "started_at": now, "heartbeat_at": now}
            # A former attempt may have written the row and failed after that.
            connection.execute(dialect.upsert(connection, job_runners, values, "id", ["heartbeat_at"]))
            for kind in sorted(self._service.kinds):
                queue = {"kind": kind, "paused": False}
                connection.execute(dialect.upsert(connection, job_queues, queue, "kind"))

        started = time.monotonic()
        await self._db.write(insert_runner)
        self._last_beat = started
        for name, reason in (await self._service.install_defaults()).items():
            log.error("a default schedule cannot be used; it never runs", schedule=name, error=reason)

    def _beat_thread(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            runner = self.id
            try:
                alive = await asyncio.wait_for(
                    self._db.write(lambda c, runner=runner: move_heartbeat(c, runner), durable=False),  # type: ignore[misc]
                    LEASE_SECONDS,
                )
                if alive:
                    self._last_beat = started
                elif runner == self.id:
                    self._lose()
            except Exception as error:
                log.warning("job runner's heartbeat failed", error=_describe(error))
            if time.monotonic() - self._last_beat > LEASE_SECONDS and self._tasks:
                self._lose()
            await asyncio.sleep(BEAT_SECONDS)

    def _lose(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        self._lost = True
        for task, _ in self._tasks.values():
            task.cancel()
        self._wake.set()

    async def _abandon(self) -> None:
        """Others have taken this runner for dead: end what it runs and start over under another id."""
        log.warning("job runner was taken for dead; its jobs went to others", runner=self.id)
        self._cancel_all()
        tasks = [task for task, _ in self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks)
        old, self.id = self.id, str(uuid.uuid4())
        await self._db.write(lambda c: c.execute(delete(job_runners).where(job_runners.c.id == old)))
        self._last_beat = time.monotonic()
        self._lost = False

    # -- taking jobs ----------------------------------------------------------------------------------

    async def _turn(self) -> bool:
        """One look at the database; True when there may be more to do at once."""
        running = list(self._tasks)
        found = await self._db.read(lambda c: look(c, list(self._service.kinds), running))
        for job_id in found.stops:
            self._request_stop(job_id)
        if found.schedules:
            await self._db.write(lambda c: fire_schedules(c, self._leads_elsewhere))
        if found.orphans:
            await self._db.write(take_over)
        free = self.slots - len(self._tasks)
        if free <= 0 or not (found.kinds or found.schedules or found.orphans):
            return False
        kinds = {name: kind.concurrency for name, kind in self._service.kinds.items()}
        claimed = await self._db.write(lambda c: claim(c, self.id, kinds, free))
        if claimed is None:
            self._cancel_all()
            return True
        for job in claimed:
            self._start(job, self._service.kinds[job.kind])
        return bool(claimed) and self.slots > len(self._tasks)

    def _request_stop(self, job_id: str) -> None:
        task, context = self._tasks.get(job_id, (None, None))
        if task is None or context is None or context.stopping:
            return
        context.stopping = True
        asyncio.get_running_loop().call_later(STOP_SECONDS, task.cancel)

    def _start(self, job: Claimed, kind: JobKind) -> None:
        context = RunContext(job.id, job.attempt, self._db)
        task = asyncio.create_task(self._traced(job, kind, context, self.id), name=f"job {kind.name}")
        self._tasks[job.id] = (task, context)
        task.add_done_callback(lambda _: self._done(job.id))

    def _done(self, job_id: str) -> None:
        self._tasks.pop(job_id, None)
        self._wake.set()

    async def _traced(self, job: Claimed, kind: JobKind, context: RunContext, runner: str) -> None:
        attributes: dict[str, Any] = {"seawall.job": job.id, "seawall.attempt": job.attempt}
        with tracing.continued(f"job {kind.name}", job.trace, **attributes) as span:
            status = await self._execute(kind, job.args, context, runner)
            span.set("seawall.status", status)
            if status == "error":
                span.fail("job failed")

    async def _execute(self, kind: JobKind, args: dict[str, Any], context: RunContext, runner: str) -> str:
        """Do a job's work and record its end. Returns the status it ended with."""
        actor.set(SYSTEM)
        values: dict[str, Any]
        started = time.monotonic()
        flusher = asyncio.create_task(flush_often(context))
        try:
            result = await kind.work(context, args)
            values = _success(result)
        except JobStoppedError:
            await context.log("stopped")
            values = {"status": "stopped"}
        except asyncio.CancelledError:
            if self._lost:
                return "lost"
            if context.stopping:
                await context.log("stopped (cancelled: no checkpoint was reached in time)")
                values = {"status": "stopped"}
            else:
                # Draining: somebody else goes on at once.
                values = {"status": "pending", "runner": None, "started_at": None}
        except (Exception, SystemExit) as error:
            message = _describe(error)
            if not isinstance(error, SeawallError):
                log.exception("job failed", job=context.id, kind=kind.name, attempt=context.attempt)
            await context.log(message, "ERROR")
            values = {"status": "error", "error": message}
            if context.attempt <= kind.retries and not isinstance(error, JobFailedError):
                wait = min(kind.backoff_seconds * 2 ** (context.attempt - 1), MAX_BACKOFF)
                wait *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, no secret
                await context.log(f"will be tried again in {wait:.0f} s")
                values = {"status": "pending", "error": message, "runner": None, "wait": wait}
        finally:
            flusher.cancel()
        await self._finish(context, runner, values)
        seconds = time.monotonic() - started
        _SECONDS.observe(seconds, kind.name, values["status"])
        log.info(
            "job ended", job=context.id, kind=kind.name, status=values["status"], seconds=round(seconds, 3)
        )
        return str(values["status"])

    async def _finish(self, context: RunContext, runner: str, values: dict[str, Any]) -> None:
        wait = values.pop("wait", 0.0)

        def close_job(connection: Connection) -> None:
            now = dialect.now(connection)
            over = values["status"] != "pending"
            # A job that was stopped meanwhile is not tried again.
            stopped = jobs.c.stop_requested
            times: dict[str, Any] = (
                {"ended_at": now}
                if over
                else {
                    "run_at": now + wait,
                    "status": case((stopped, "stopped"), else_="pending"),
                    "ended_at": case((stopped, now), else_=None),
                }
            )
            connection.execute(
                update(jobs)
                .where(
                    jobs.c.id == context.id,
                    jobs.c.runner == runner,
                    jobs.c.attempts == context.attempt,
                    jobs.c.status == "running",
                )
                .values(**{**values, **times})
            )

        while not self._lost:
            try:
                await context.flush()
                await self._db.write(close_job)
            except Exception as error:
                if isinstance(error, StatementError) and classify(error) in (Fault.INVALID, Fault.BUG):
                    # No waiting changes this, and the job must end.
                    values.update(status="error", result=None, error="the job's result cannot be stored")
                log.warning("cannot record a job's end; trying again", error=_describe(error))
                await asyncio.sleep(1)
            else:
                self._service.nudge()
                return


def _success(result: Any) -> dict[str, Any]:
    """What is stored of a job that came to its end."""
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {"status": "error", "result": None, "error": "the job's result is not JSON"}
    return {"status": "success", "result": result, "error": None}


def _describe(error: BaseException) -> str:
    text = storable(str(error)).strip().splitlines()
    first = text[0] if text else ""
    return (
        first
        if isinstance(error, SeawallError) and first
        else f"{type(error).__name__}: {first}".rstrip(": ")
    )
