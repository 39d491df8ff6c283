"""Processes that write to one SQLite file take turns; one that is stopped holds up nobody for long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from seawall.infra.db import engine, migrate
from seawall.infra.db.engine import SqliteDatabase
from seawall.infra.db.faults import DatabaseError, Fault
from seawall.infra.file_lock import lock_file

HOLDER = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def stopped_with(path: str) -> Iterator[int]:
    """A process that was stopped (Ctrl-Z) while it had locked the file; its pid. It ends with the block."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteDatabase]:
    monkeypatch.setattr(engine, "_TURN_SECONDS", 1.0)
    db = SqliteDatabase(f"sqlite:///{tmp_path}/seawall.db")
    db.sync_write(lambda c: c.execute(text("CREATE TABLE t (n TEXT)")))
    yield db
    asyncio.run(db.close())


def insert(value: str) -> Callable[[Connection], object]:
    return lambda c: c.execute(text("INSERT INTO t VALUES (:v)"), {"v": value})


def stored(db: SqliteDatabase) -> set[str]:
    return set(db.sync_read(lambda c: c.execute(text("SELECT n FROM t")).scalars().all()))


def test_a_write_is_refused_and_not_done(db: SqliteDatabase, tmp_path: Path) -> None:
    with stopped_with(f"{tmp_path}/seawall.db.turn") as pid:
        start = time.monotonic()
        with pytest.raises(
            DatabaseError, match=f"the database waits for process {pid}, which is stopped, to end its write"
        ) as refused:
            asyncio.run(db.write(insert("awaited")))
        assert refused.value.fault is Fault.BUSY
        with pytest.raises(DatabaseError, match="waits for"):
            db.sync_write(insert("called"))
        assert 2 <= time.monotonic() - start < 20
        assert db.writing().startswith("waits for process")
        assert stored(db) == set()
    db.sync_write(insert("later"))
    assert stored(db) == {"later"}
    assert db.writing() == "ok"


def test_a_write_in_time_is_done_once(db: SqliteDatabase, tmp_path: Path) -> None:
    async def write() -> None:
        with stopped_with(f"{tmp_path}/seawall.db.turn") as pid:
            writing = [asyncio.create_task(db.write(insert(str(n)))) for n in range(5)]
            await asyncio.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*writing)

    asyncio.run(write())
    assert db.sync_read(lambda c: c.execute(text("SELECT count(*) FROM t")).scalar()) == 5


def test_the_end_does_not_wait(tmp_path: Path, db: SqliteDatabase) -> None:
    with stopped_with(f"{tmp_path}/seawall.db.turn"):
        with pytest.raises(DatabaseError):
            db.sync_write(insert("x"))
        start = time.monotonic()
        asyncio.run(db.close())
        assert time.monotonic() - start < 20


def test_a_lock_that_is_kept_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        stopped_with(str(path)) as pid,
        path.open("a") as file,
        pytest.raises(TimeoutError, match=f"process {pid}, which is stopped, keeps the file locked"),
    ):
        lock_file(file.fileno(), 0.1)
    with path.open("a") as file:
        lock_file(file.fileno(), 0)


def test_a_start_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migrate, "_QUIET_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path}/seawall.db"
    with stopped_with(f"{tmp_path}/seawall.db.migrate") as pid:
        ended = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {pid}"])
        migrate.upgrade(url)
        ended.wait()
    assert f"seawall: waiting until process {pid}, which is stopped, has migrated" in capsys.readouterr().err
