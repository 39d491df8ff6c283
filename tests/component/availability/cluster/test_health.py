"""The health check asks all parts at once, so a balancer waits for the slowest and not for the sum."""

from __future__ import annotations

import asyncio
import time

from seawall.availability.cluster.health import Health
from tests.support.lab import Lab, Run

SECONDS = 0.8


def test_slow_parts_are_asked_together(run: Run) -> None:
    async def body(lab: Lab) -> None:
        asked = []

        async def runners() -> bool:
            asked.append("jobs")
            await asyncio.sleep(SECONDS)
            return True

        async def away() -> list[str]:
            asked.append("peers")
            await asyncio.sleep(SECONDS)
            return ["http://127.0.0.1:1"]

        services = lab.services
        health = Health(lab.db, services.storage, services.redis, runners=runners, peers_away=away)
        began = time.monotonic()
        status, parts = await health.check()
        took = time.monotonic() - began
        assert sorted(asked) == ["jobs", "peers"]
        assert status == "degraded"
        assert parts == {"database": "ok", "storage": "ok", "peers": "no answer from http://127.0.0.1:1"}
        assert SECONDS <= took < 2 * SECONDS

    run(body)
