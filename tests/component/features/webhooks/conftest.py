"""Fixtures of the webhook tests: the lab of the artifact tests with a job runner."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from seawall.infra.jobs.runner import Runner
from seawall.infra.outbox.dispatch import Dispatcher
from seawall.infra.settings import Settings
from seawall.process.wiring import open_process
from tests.support.lab import Lab, Run, lab_settings

__all__ = ["lab_settings"]


@pytest.fixture
def run_jobs(lab_settings: Settings) -> Run:
    """Run a coroutine function with a Lab whose jobs run and whose events are dispatched."""
    loopback = lab_settings.webhooks.model_copy(update={"allow_networks": ["127.0.0.0/8"]})
    settings = lab_settings.model_copy(
        update={"webhooks": loopback, "external_url": "https://registry.example:8443"}
    )

    def runner(body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            services = open_process(settings)
            services.jobs.register([dataclasses.replace(services.jobs.kinds["webhook"], backoff_seconds=0.1)])
            engine = Runner(services.jobs, slots=4)
            tasks = [
                asyncio.create_task(engine.run()),
                asyncio.create_task(Dispatcher(services.db, services.events, services.dr.writable).run()),
            ]
            try:
                await body(Lab(services))
            finally:
                await engine.drain(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await services.close()

        asyncio.run(main())

    return runner
