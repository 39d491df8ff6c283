"""PostgreSQL that is busy: requests wait for their turn longer while others get theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from seawall.infra.db import lanes
from seawall.infra.db.postgres import PostgresDatabase
from seawall.kernel.errors import UnavailableError
from tests.support.servers.postgres import Postgres


def taking(seconds: float) -> Callable[[Connection], float]:
    def wait(connection: Connection) -> float:
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return seconds

    return wait


def outcomes(postgres: Postgres, *seconds: float) -> list[float | BaseException]:
    """What becomes of writes that all come at once, with one connection for them."""

    async def body() -> list[float | BaseException]:
        # Of three connections one writes.
        db = PostgresDatabase(postgres.migrated(), pool_size=3)
        try:
            writes = [db.write(taking(item)) for item in seconds]
            return await asyncio.gather(*writes, return_exceptions=True)
        finally:
            await db.close()

    return asyncio.run(body())


def test_a_busy_database_is_waited_for(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ANSWER_SECONDS", 0.8)
    assert outcomes(postgres, *[0.3] * 8) == [0.3] * 8


def test_not_for_ever(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(lanes, "BUSY_SECONDS", 1.2)
    found = outcomes(postgres, *[0.3] * 12)
    assert found[0] == 0.3
    assert isinstance(found[-1], UnavailableError)


def test_a_database_that_answers_nobody_is_not_busy(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(lanes, "_ANSWERING_SECONDS", 0.2)
    found = outcomes(postgres, 3.0, 0.1)
    assert found[0] == 3.0
    assert isinstance(found[1], UnavailableError)
    assert "no database connection became free" in str(found[1])
