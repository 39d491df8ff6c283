"""The job-runner process: `seawall jobservice`, and the child of `seawall serve` that does the same.

The child dies with its server: the kernel kills it when the server is gone (prctl PR_SET_PDEATHSIG), so
`kill -9` of the server leaves no orphan. On SIGTERM both drain side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from seawall.availability.peers.lead import leads_elsewhere
from seawall.infra import telemetry
from seawall.infra.jobs.runner import Runner
from seawall.infra.loading import load
from seawall.infra.outbox.dispatch import Dispatcher
from seawall.infra.part import Part
from seawall.infra.settings import Settings
from seawall.kernel.interrupt import ENDING, release
from seawall.process import traces
from seawall.process.job_health import health_port
from seawall.process.wiring import open_process

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
# What `ps` shows of the process, in at most 15 bytes.
_NAME = b"seawall-jobs"


def run(settings: Settings, *more: Part, health: int | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT; the schema must be migrated.

    `more`: see `open_process`. `health`: port of health and metrics.
    """
    asyncio.run(_run(settings, *more, health=health))


async def _run(settings: Settings, *more: Part, health: int | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    release()
    telemetry.start()
    end_tracing = traces.begin(settings, "seawall-jobservice")
    process = open_process(settings, *more)
    runner = Runner(
        process.jobs,
        process.dr.writable,
        slots=settings.jobs.slots,
        leads_elsewhere=leads_elsewhere,
    )
    dispatcher = asyncio.create_task(Dispatcher(process.db, process.events, process.dr.writable).run())
    work = asyncio.create_task(runner.run())
    try:
        async with health_port(runner, settings.http.host, health, settings.metrics.token):
            await process.start()
            await ended.wait()
    finally:
        dispatcher.cancel()
        await runner.drain(settings.jobs.drain_seconds)
        await asyncio.wait({dispatcher, work}, timeout=5)
        await process.close()
        await asyncio.to_thread(end_tracing)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` (a pid) dies; exits at once if it is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def run_as_child(parent: int) -> None:
    """Run jobs for the server `parent` (a pid), with the settings it left in the environment."""
    from seawall.process.server import configure_logging

    die_with_parent(parent)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME)
    settings = load(None, json.loads(os.environ["SEAWALL_RESOLVED_SETTINGS"]))
    configure_logging(settings)
    run(settings)


class _Child(Protocol):
    """The part of `subprocess.Popen` that is used of a child."""

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int | None: ...


class _Forked:
    """A child forked from this process, which has everything imported already: it starts in no time."""

    def __init__(self) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=run_as_child, args=(os.getpid(),))
        self._process.start()
        self.terminate, self.kill = self._process.terminate, self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("jobservice", timeout or 0)
        return self._process.exitcode


class EmbeddedRunner:
    """Keeps one job-runner child alive while `seawall serve` runs; a context manager.

    `stopping` is asked a few times a second; once it says True, the child is asked to drain.
    """

    def __init__(self, stopping: Callable[[], bool], drain_seconds: float) -> None:
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._child: _Child | None = None
        self._ended = threading.Event()
        # PR_SET_PDEATHSIG means the death of the parent's *thread*: both the one that enters and this one
        # live as long as the process.
        self._thread = threading.Thread(target=self._watch, name="job-runner", daemon=True)

    def __enter__(self) -> EmbeddedRunner:
        # Ctrl-C comes to both processes. Until the child has its own handlers it has this one's, and until
        # `_watch` runs nobody would end the child.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        # Forked while this process has one thread. Later, when it has several, a new one is executed.
        self._child = _Forked()
        self._thread.start()
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        # What is executed later begins with this thread's mask.
        release()
        # Whatever ends this thread ends the child too: the process joins it before it exits.
        try:
            self._keep_alive()
        finally:
            self._stop()

    def _keep_alive(self) -> None:
        wait = 1.0
        while not self._over():
            started = time.monotonic()
            try:
                child = self._child = self._child or self._start()
            except OSError as error:
                # No memory, no process, no file left, or Python is just being replaced: what ended the runner
                # is often the same. This thread must outlive it, or there are no jobs until the next start.
                fate = f"could not be started ({error.strerror or error})"
            else:
                while child.poll() is None and not self._over():
                    self._ended.wait(0.2)
                fate = f"ended with status {child.returncode}"
            if self._over():
                break
            wait = 1.0 if time.monotonic() - started > 60 else min(wait * 2, 30.0)
            with contextlib.suppress(OSError):  # nobody reads it any more, or the disk is full
                print(
                    f"seawall: the job runner {fate}; starting it again in {wait:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
            self._child = None
            self._ended.wait(wait)

    def _over(self) -> bool:
        return self._ended.is_set() or self._stopping()

    @staticmethod
    def _start() -> _Child:
        # Settings travel through SEAWALL_RESOLVED_SETTINGS, as they do to the server's processes.
        command = [sys.executable, "-m", "seawall", "jobservice", "--parent", str(os.getpid())]
        # close_fds=False has Popen use posix_spawn. Its other way reports through a pipe, which a server
        # process forked at the same moment would hold open, and Popen would wait for that one's end.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)  # noqa: S603 - fixed

    def _stop(self) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(self._drain_seconds + 15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
