"""PostgreSQL that hangs: a primary that is left for the promoted one, and a standby that holds up commits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from seawall.infra.db import migrate
from seawall.infra.db.postgres import PostgresDatabase
from seawall.kernel.errors import UnavailableError
from tests.support.servers.postgres import PostgresNode, PostgresPair
from tests.support.waiting import until


class Load:
    """Writers and readers that never stop trying; when each last succeeded, and what was acknowledged."""

    def __init__(self, db: PostgresDatabase, writers: int, readers: int) -> None:
        self.db = db
        self.written: dict[int, float] = {}
        self.read_at = 0.0
        self.longest_read = 0.0
        self.failed_reads = 0
        self.failed_writes: list[str] = []
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(writers, readers)))
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _run(self, writers: int, readers: int) -> None:
        await asyncio.gather(
            *(asyncio.create_task(self._write()) for _ in range(writers)),
            *(asyncio.create_task(self._read()) for _ in range(readers)),
        )
        await self.db.close()

    async def _write(self) -> None:
        while not self._stop.is_set():
            self._number += 1
            number = self._number

            def add(connection: Connection, number: int = number) -> None:
                connection.execute(text("INSERT INTO done (number) VALUES (:n)"), {"n": number})

            try:
                await asyncio.create_task(self.db.write(add))
                self.written[number] = time.monotonic()
            except UnavailableError as error:
                self.failed_writes.append(str(error))
            await asyncio.sleep(0.01)

    async def _read(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await asyncio.create_task(
                    self.db.read(lambda c: c.execute(text("SELECT count(*) FROM done")).scalar())
                )
                self.read_at = time.monotonic()
                self.longest_read = max(self.longest_read, self.read_at - began)
            except UnavailableError:
                self.failed_reads += 1
            await asyncio.sleep(0.02)

    def until(self, moment: float, seconds: float) -> None:
        """Wait until reads and writes have succeeded after `moment`."""
        until(
            lambda: self.read_at > moment and max(self.written.values(), default=0) > moment,
            lambda: f"reads {self.read_at - moment}, {self.failed_writes[-3:]}",
            seconds,
        )


def prepared(pair: PostgresPair) -> str:
    """URL of a migrated database with the table of the load."""
    url = pair.database()
    migrate.upgrade(url)
    db = PostgresDatabase(url, pool_size=2)
    db.sync_write(lambda c: c.execute(text("CREATE TABLE done (number int)")))
    asyncio.run(db.close())
    return url


def rows(node: PostgresNode, url: str) -> list[int]:
    """What a server itself has."""
    found = node.sql("SELECT number FROM done ORDER BY number", url.rsplit("/", 1)[1])
    return [int(line) for line in found.split()]


@pytest.mark.timeout(180)
def test_a_primary_that_hangs_is_left_for_the_promoted_one(postgres_pair: PostgresPair) -> None:
    pair = postgres_pair
    url = prepared(pair)
    old = pair.primary
    load = Load(PostgresDatabase(url, pool_size=10, retry_seconds=5), writers=8, readers=8)
    try:
        load.until(time.monotonic(), 30)
        old.freeze()
        time.sleep(6)
        pair.promote()
        promoted = time.monotonic()
        load.until(promoted, 10)
        old.thaw()
        # Its commits no longer wait for a standby: what reached it would be kept.
        old.sql("ALTER SYSTEM SET synchronous_standby_names = ''")
        old.sql("SELECT pg_reload_conf()")
        time.sleep(0.5)
        there = rows(old, url)
        awake = time.monotonic()
        load.until(awake + 6, 20)
        # A process that starts now finds two servers that take writes.
        for _ in range(3):
            late = PostgresDatabase(url, pool_size=2, retry_seconds=5)
            late.sync_write(lambda c: c.execute(text("INSERT INTO done (number) VALUES (-1)")))
            asyncio.run(late.close())
    finally:
        with contextlib.suppress(AssertionError):
            old.thaw()
        load.stop()
    assert rows(old, url) == there, "the old primary was written to"
    kept = rows(pair.primary, url)
    assert kept.count(-1) == 3
    assert len(kept) == len(set(kept)) + 2, "a write happened twice"
    assert set(load.written) <= set(kept), "acknowledged and lost"


@pytest.mark.timeout(120)
def test_a_server_that_hangs_alone_is_no_trap(postgres_pair: PostgresPair) -> None:
    """Nobody is promoted: requests fail in time, and go on when it wakes up."""
    url = prepared(postgres_pair).replace(f",127.0.0.1:{postgres_pair.replica.port}", "")
    load = Load(PostgresDatabase(url, pool_size=10, retry_seconds=2), writers=6, readers=6)
    try:
        load.until(time.monotonic(), 30)
        postgres_pair.primary.freeze()
        until(lambda: load.failed_reads and load.failed_writes, "requests wait for ever", 20)
        postgres_pair.primary.thaw()
        load.until(time.monotonic(), 10)
    finally:
        postgres_pair.primary.thaw()
        load.stop()
    assert set(load.written) <= set(rows(postgres_pair.primary, url))


@pytest.fixture
def stuck() -> Iterator[PostgresPair]:
    """A pair whose standby can be frozen."""
    pair = PostgresPair()
    try:
        pair.start()
        yield pair
    finally:
        with contextlib.suppress(AssertionError):
            pair.replica.thaw()
        pair.close()


@pytest.mark.timeout(120)
def test_commits_that_wait_for_a_standby_do_not_hold_up_reads(stuck: PostgresPair) -> None:
    url = prepared(stuck)
    db = PostgresDatabase(url, pool_size=10, retry_seconds=5)
    load = Load(db, writers=40, readers=4)
    try:
        load.until(time.monotonic(), 30)
        before = stuck.primary.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall'")
        stuck.replica.freeze()
        frozen = time.monotonic()
        load.longest_read = 0.0
        while time.monotonic() < frozen + 14:
            time.sleep(1)
            assert time.monotonic() - load.read_at < 3
        assert load.failed_reads == 0
        assert load.longest_read < 3
        assert "commit waits" in db.writing()
        assert load.failed_writes, "a write is told that it waits in vain"
        now = stuck.primary.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seawall'")
        assert int(now) <= max(int(before), 12), "given-up commits must not eat the server's connections"
        stuck.replica.thaw()
        load.until(time.monotonic(), 10)
        assert db.writing() == "ok"
    finally:
        stuck.replica.thaw()
        load.stop()
    assert set(load.written) <= set(rows(stuck.primary, url))
