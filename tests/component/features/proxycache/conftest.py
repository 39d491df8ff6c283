"""A proxy-cache project before an upstream, without a server."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from seawall.access.tables import projects
from seawall.infra.jobs.runner import Runner
from seawall.infra.settings import ProxySettings, Settings
from seawall.process.wiring import open_process
from tests.support.lab import Lab
from tests.support.servers.upstream import RunProxy, Upstream, UpstreamBody, open_upstream


async def _with_upstream(settings: Settings, body: UpstreamBody, wait_seconds: float = 30) -> None:
    proxy = ProxySettings(fresh_seconds=0, wait_seconds=wait_seconds)
    services = open_process(settings.model_copy(update={"proxy": proxy}))
    try:
        async with open_upstream() as upstream:
            lab = Lab(services)
            project = await lab.project()
            registry = await services.replication.registries.add(
                name="up", url=upstream.url, type="docker-registry"
            )
            mine = update(projects).where(projects.c.id == project)
            await lab.db.write(lambda c: c.execute(mine.values(registry_id=registry)))
            await body(lab, upstream)
    finally:
        await services.close()


@pytest.fixture
def run_proxy(lab_settings: Settings) -> RunProxy:
    """Run a coroutine function with a Lab whose project `p` stands before an upstream."""

    def runner(body: UpstreamBody, wait_seconds: float = 30) -> None:
        asyncio.run(_with_upstream(lab_settings, body, wait_seconds))

    return runner


@pytest.fixture
def run_proxy_jobs(lab_settings: Settings) -> RunProxy:
    """As `run_proxy`, and jobs run."""

    def runner(body: UpstreamBody) -> None:
        async def with_jobs(lab: Lab, upstream: Upstream) -> None:
            engine = Runner(lab.services.jobs, slots=4)
            task = asyncio.create_task(engine.run())
            try:
                await body(lab, upstream)
            finally:
                await engine.drain(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(_with_upstream(lab_settings, with_jobs))

    return runner
