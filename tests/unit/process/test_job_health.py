"""What `seawall jobservice` says of itself at `jobs.health_port`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall.infra.db import migrate
from seawall.infra.jobs.runner import Runner
from seawall.infra.loading import load
from seawall.kernel.errors import ConfigError
from seawall.process.job_health import AWAY_SECONDS, HUNG_SECONDS, answer, health_port
from seawall.process.wiring import open_process
from tests.support.processes import free_port


class Still:
    """A runner that last went round, and last reached its database, so many seconds ago."""

    def __init__(self, turned: float = 0, reached: float = 0, draining: bool = False) -> None:
        now = time.monotonic()
        self.turned_at, self.reached_at, self.draining = now - turned, now - reached, draining
        self.running, self.slots = 2, 10


def status(runner: Any, path: str) -> int:
    return answer(runner, "GET", path)[0]


def test_states() -> None:
    assert status(Still(), "/healthz") == status(Still(), "/readyz") == 200
    # The database is away: nothing to restart for.
    away = Still(reached=AWAY_SECONDS + 1)
    assert (status(away, "/healthz"), status(away, "/readyz")) == (200, 503)
    hung = Still(turned=HUNG_SECONDS + 1, reached=HUNG_SECONDS + 1)
    assert (status(hung, "/healthz"), status(hung, "/readyz")) == (503, 503)
    ending = Still(draining=True)
    assert (status(ending, "/healthz"), status(ending, "/readyz")) == (200, 503)
    assert status(Still(), "/") == 404
    assert answer(Still(), "POST", "/healthz")[0] == 405  # type: ignore[arg-type]
    assert b"seawall_jobs_running 2.0" in answer(Still(), "GET", "/metrics")[2]  # type: ignore[arg-type]


def test_both_families() -> None:
    """At `::` it answers over IPv4 too, which is how kubelets ask a dual-stack pod."""

    async def run() -> None:
        port = free_port()
        async with health_port(Still(), "::", port), httpx.AsyncClient() as client:  # type: ignore[arg-type]
            for host in ("127.0.0.1", "[::1]"):
                assert (await client.get(f"http://{host}:{port}/healthz")).text == "ok\n"

    asyncio.run(run())


def test_over_http(tmp_path: Path) -> None:
    """A real runner goes round; requests that are none do no harm; a blocked event loop gives no answer."""
    settings = load(None, {"data_dir": tmp_path})
    migrate.upgrade(settings.database_url)
    port = free_port()

    async def run() -> None:
        process = open_process(settings)
        runner = Runner(process.jobs)
        before = runner.reached_at
        work = asyncio.create_task(runner.run())
        async with health_port(runner, "127.0.0.1", port), httpx.AsyncClient(timeout=60) as client:
            url = f"http://127.0.0.1:{port}"
            assert (await client.get(f"{url}/healthz")).text == "ok\n"
            assert (await client.head(f"{url}/readyz")).status_code == 200
            plain = await client.get(f"{url}/metrics")
            assert plain.headers["content-type"].startswith("text/plain")
            wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
            modern = await client.get(f"{url}/metrics", headers=wanted)
            assert modern.headers["content-type"].startswith("application/openmetrics-text")
            assert modern.text.endswith("# EOF\n")
            for garbage in (b"\r\n\r\n", b"x" * 20_000, b"GET\r\n\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(garbage)
                await writer.drain()
                writer.close()
            async with asyncio.timeout(60):
                while runner.reached_at == before:
                    await asyncio.sleep(0.05)
            with pytest.raises(ConfigError, match=r"jobs\.health_port: 127\.0\.0\.1"):
                async with health_port(runner, "127.0.0.1", port):
                    pass
            other = free_port()
            async with health_port(runner, "127.0.0.1", other, "a-long-token"):
                guarded = f"http://127.0.0.1:{other}"
                assert (await client.get(f"{guarded}/healthz")).status_code == 200
                refused = await client.get(f"{guarded}/metrics")
                assert (refused.status_code, refused.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
                for value, status in (("Bearer wrong-token", 401), ("Bearer a-long-token", 200)):
                    answer = await client.get(f"{guarded}/metrics", headers={"Authorization": value})
                    assert answer.status_code == status, value
            await runner.drain(1)
            assert (await client.get(f"{url}/readyz")).status_code == 503
        await work
        await process.close()

    asyncio.run(run())
