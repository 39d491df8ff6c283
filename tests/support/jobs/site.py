"""Fixtures of the job tests: a migrated database, services over it, runners in and out of process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from seawall.infra.jobs.base import FINISHED, JobInfo
from seawall.infra.jobs.runner import Runner
from seawall.infra.loading import load
from seawall.infra.outbox.dispatch import Dispatcher
from seawall.infra.settings import Settings
from seawall.process.wiring import Process, open_process
from tests.support import forked
from tests.support.databases import with_schema
from tests.support.jobs import kinds
from tests.support.processes import ROOT, clean_environment
from tests.support.waiting import eventually

RunnerProcess = forked.Forked | subprocess.Popen[bytes]


class Site:
    """One database with everything that works on it in this test."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url
        self.processes: list[RunnerProcess] = []

    def settings(self) -> Settings:
        return load(None, {"data_dir": self.root / "data", "database": {"url": self.url}})

    def runner_process(self) -> RunnerProcess:
        """A runner as a process of its own."""
        environment = clean_environment(
            SEAWALL_DATA_DIR=str(self.root / "data"), SEAWALL_DATABASE__URL=self.url
        )
        with (self.root / "runners.log").open("ab") as log:
            process = forked.started([], environment, ROOT, log.fileno(), kinds.__name__)
        self.processes.append(process)
        return process

    @contextlib.asynccontextmanager
    async def services(self, *, runner: bool = False, dispatcher: bool = False) -> AsyncIterator[Process]:
        """Services, with a runner or an outbox dispatcher in this process if asked for."""
        services = open_process(self.settings(), kinds.PART)
        engine = Runner(services.jobs, slots=10)
        tasks: list[asyncio.Task[None]] = []
        if runner:
            tasks.append(asyncio.create_task(engine.run()))
        if dispatcher:
            tasks.append(
                asyncio.create_task(Dispatcher(services.db, services.events, services.dr.writable).run())
            )
        try:
            yield services
        finally:
            if runner:
                await engine.drain(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await services.close()


@pytest.fixture
def site(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """An empty, migrated site on SQLite and on PostgreSQL."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    if database_settings:
        url = request.getfixturevalue("postgres").migrated()
    with_schema(url)
    found = Site(tmp_path, url)
    try:
        yield found
    finally:
        for process in found.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


async def ended(services: Process, job_id: str, seconds: float = 30) -> JobInfo:
    """The job once it is over."""
    found: JobInfo | None = None

    async def over() -> bool:
        nonlocal found
        found = await services.jobs.get(job_id)
        return found is not None and found.status in FINISHED

    await eventually(over, seconds=seconds)
    assert found is not None
    return found


async def running(services: Process, job_id: str) -> JobInfo:
    """The job once it runs and has logged its first line."""
    found: JobInfo | None = None

    async def started() -> bool:
        nonlocal found
        found = await services.jobs.get(job_id)
        return found is not None and found.status == "running" and bool(await services.jobs.log(job_id))

    await eventually(started)
    assert found is not None
    return found
