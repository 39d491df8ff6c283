"""Sessions: good on every instance, with Redis, without it, and after it is lost."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from seawall.access.sessions import SessionStore
from seawall.access.tables import sessions, users
from seawall.infra.db import Database, open_database
from seawall.infra.redis import RedisClient
from seawall.infra.settings import RedisSettings
from tests.support.databases import with_schema
from tests.support.servers.redis import RedisNode


@pytest.fixture
def url(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A migrated database of the test's own, with a user."""
    found = f"sqlite:///{tmp_path / 's.db'}"
    if database_settings:
        found = str(request.getfixturevalue("postgres").database())
    with_schema(found)
    return found


@pytest.fixture(params=["database", "redis"])
def node(request: pytest.FixtureRequest) -> Iterator[RedisNode | None]:
    """A Redis, or none."""
    if request.param == "database":
        yield None
        return
    server = RedisNode()
    server.start()
    yield server
    server.close()


def run(
    url: str,
    node: RedisNode | None,
    work: Callable[[SessionStore, SessionStore, Database, int], Awaitable[None]],
    idle_minutes: float = 60,
    **life: Any,
) -> None:
    """`work(one, two, db, user)` with the stores of two instances."""

    async def body() -> None:
        settings = RedisSettings(url=node.url if node else None)
        dbs = [open_database(url, pool_size=2) for _ in range(2)]
        redis = [RedisClient(settings) for _ in range(2)]
        now = time.time()
        row = {"username": "u", "sysadmin": False, "created_at": now, "updated_at": now}
        user = await dbs[0].write(
            lambda c: int(c.execute(users.insert().values(**row).returning(users.c.id)).scalar_one())
        )

        async def idle() -> float:
            return idle_minutes

        stores = (SessionStore(db, r, idle_minutes=idle, **life) for db, r in zip(dbs, redis, strict=True))
        one, two = stores
        try:
            await work(one, two, dbs[0], user)
        finally:
            for client in redis:
                await client.close()
            for db in dbs:
                await db.close()

    asyncio.run(body())


def test_made_here_found_there_ended_here(url: str, node: RedisNode | None) -> None:
    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        token = await one.create(user, address="192.0.2.1", agent="x" * 400, data={"via": "oidc"})
        for _ in range(2):
            found = await two.get(token)
            assert found is not None
            assert (found.user_id, found.address, found.data) == (user, "192.0.2.1", {"via": "oidc"})
        stored = await db.read(lambda c: str(c.execute(select(sessions)).all()))
        assert token not in stored
        assert hashlib.sha256(token.encode()).hexdigest() in stored
        await one.delete(token)
        assert await two.get(token) is None
        assert await two.get("invented") is None
        assert await two.get("\udcff") is None

    run(url, node, work)


def test_a_new_id_at_login(url: str, node: RedisNode | None) -> None:
    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        before = await one.create(user)
        assert await two.get(before)
        after = await two.renew(before, data={"admin": True})
        assert after is not None
        assert after != before
        assert await one.get(before) is None, "the id an attacker may have planted is worthless"
        found = await one.get(after)
        assert found is not None
        assert found.data == {"admin": True}
        assert await one.renew(before) is None

    run(url, node, work)


def test_every_session_of_a_user(url: str, node: RedisNode | None) -> None:
    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        tokens = [await one.create(user) for _ in range(3)]
        assert all([await two.get(token) for token in tokens])
        assert len(await two.list(user)) == 3
        assert await two.delete_user(user, keep=tokens[0]) == 2
        assert [bool(await one.get(token)) for token in tokens] == [True, False, False]
        await db.write(lambda c: c.execute(delete(users)))
        assert await one.list(user) == []

    run(url, node, work)


def test_they_end(url: str, node: RedisNode | None) -> None:
    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        token, idle = await one.create(user), await one.create(user)
        old = time.time() - 61
        await db.write(
            lambda c: c.execute(
                update(sessions)
                .where(sessions.c.id_hash == hashlib.sha256(idle.encode()).hexdigest())
                .values(seen_at=old)
            )
        )
        assert await two.get(idle) is None
        assert await two.get(token)
        await db.write(lambda c: c.execute(update(sessions).values(expires_at=time.time() - 1)))
        assert await two.renew(token) is None

    run(url, node, work, idle_minutes=1)


def test_use_keeps_it_alive(url: str, node: RedisNode | None) -> None:
    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        token = await one.create(user)
        past = time.time() - 300
        await db.write(lambda c: c.execute(update(sessions).values(seen_at=past)))
        for store in (one, two):
            found = await store.get(token)
            assert found is not None
            assert found.seen_at > past + 200
        stored = await db.read(lambda c: c.execute(select(sessions.c.seen_at)).scalar_one())
        assert stored > past + 200

    run(url, node, work)


def test_redis_is_lost_and_comes_back(url: str) -> None:
    node = RedisNode()
    node.start()

    async def work(one: SessionStore, two: SessionStore, db: Database, user: int) -> None:
        token = await one.create(user)
        assert await two.get(token)
        node.kill()
        for _ in range(3):
            assert await two.get(token), "no session is lost with redis"
        other = await one.create(user)
        assert await two.get(other)
        await one.delete(other)
        assert await two.get(other) is None
        node.start()
        await asyncio.sleep(1.1)
        assert await one.get(token)
        assert await one.get(other) is None

    try:
        run(url, node, work)
    finally:
        node.close()
