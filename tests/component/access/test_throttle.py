"""Failed logins are counted for the whole cluster: in Redis, in the database, and over the loss of Redis."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import pytest

from seawall.access.throttle import Guess, LoginThrottle, guess
from seawall.infra.db import open_database
from seawall.infra.redis import RedisClient
from seawall.infra.settings import RedisSettings
from seawall.kernel.errors import RegistryError
from tests.support.databases import with_schema
from tests.support.servers.redis import RedisNode

_NUMBERS = count()


def another(client: str = "192.0.2.1") -> Guess:
    """A login with a secret that none was tried with."""
    return guess("käthe", f"secret {next(_NUMBERS)}", client)


async def refused(throttle: LoginThrottle, of: Guess) -> bool:
    try:
        async with throttle.attempt(of):
            return False
    except RegistryError as error:
        assert error.code == "TOOMANYREQUESTS"
        assert 0 < int(error.headers["Retry-After"]) <= 61
        return True


@pytest.mark.parametrize("backend", ["database", "redis", "redis lost"])
def test_counted_together(backend: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    with_schema(url)
    node = RedisNode()
    node.start()

    async def run() -> None:
        db = open_database(url)
        clients = [
            RedisClient(RedisSettings(url=None if backend == "database" else node.url)) for _ in range(2)
        ]
        one, two = (LoginThrottle(db, client, attempts=4, wait_seconds=30) for client in clients)
        old = another()
        for throttle in (one, two, one):
            await throttle.failed(another())
        for throttle in (one, two) * 10:
            assert not await refused(throttle, old)
        if backend == "redis lost":
            node.kill()
            for throttle in (one, two, one):
                await throttle.failed(another())
            assert not await refused(two, another()), "counting starts anew in the database"
        # The same secret again and again is one guess.
        for throttle in (two, one) * 10:
            await throttle.failed(old)
        assert await refused(one, another())
        assert await refused(two, another())
        assert not await refused(two, another("192.0.2.2"))
        await one.passed(old)
        assert not await refused(two, another())
        for client in clients:
            await client.close()
        await db.close()

    try:
        asyncio.run(run())
    finally:
        node.close()
