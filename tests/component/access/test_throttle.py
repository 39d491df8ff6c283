"""Failed logins are counted for the whole cluster: in Redis, in the database, and over the loss of Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seawall.access.throttle import LoginThrottle
from seawall.infra.db import migrate, open_database
from seawall.infra.redis import RedisClient
from seawall.infra.settings import RedisSettings
from seawall.kernel.errors import RegistryError
from tests.support.servers.redis import RedisNode


async def refused(throttle: LoginThrottle, key: str) -> bool:
    try:
        await throttle.check(key)
    except RegistryError as error:
        assert error.code == "TOOMANYREQUESTS"
        assert 0 < int(error.headers["Retry-After"]) <= 31
        return True
    return False


@pytest.mark.parametrize("backend", ["database", "redis", "redis lost"])
def test_counted_together(backend: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    migrate.upgrade(url)
    node = RedisNode()
    node.start()

    async def run() -> None:
        db = open_database(url)
        clients = [
            RedisClient(RedisSettings(url=None if backend == "database" else node.url)) for _ in range(2)
        ]
        one, two = (LoginThrottle(db, client, attempts=4, wait_seconds=30) for client in clients)
        key = "192.0.2.1 käthe"
        for throttle in (one, two, one):
            await throttle.failed(key)
        assert not await refused(two, key)
        if backend == "redis lost":
            node.kill()
            for throttle in (one, two, one):
                await throttle.failed(key)
            assert not await refused(two, key), "counting starts anew in the database"
        await two.failed(key)
        assert await refused(one, key)
        assert await refused(two, key)
        assert not await refused(two, "192.0.2.2 käthe")
        await one.passed(key)
        assert not await refused(two, key)
        for client in clients:
            await client.close()
        await db.close()

    try:
        asyncio.run(run())
    finally:
        node.close()
