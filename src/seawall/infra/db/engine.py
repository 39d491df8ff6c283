"""Transactions over SQLite and PostgreSQL.

Domain code hands in plain functions of a SQLAlchemy `Connection`; the backend decides in which thread and
transaction they run, and runs them again when the database says "try again" (serialisation failure, deadlock,
lost connection, failover). Such a function must therefore have no effect but on the database. A write is
never applied twice, not even when the connection broke during COMMIT (see `seawall.infra.db.postgres`). When
the database stays away, UnavailableError is raised.

Durability: `write` returns after the commit is on disk. `write(..., durable=False)` returns after the
commit is visible and survives the death of this process, but a power failure may undo it; it is meant
for upload-session progress, which clients can always do again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, SingletonThreadPool

from seawall.infra import tracing
from seawall.infra.db import fence, meters
from seawall.infra.db.faults import DatabaseError, Fault, is_fence, on_sqlite_error, told
from seawall.infra.db.together import Also, nothing, together
from seawall.infra.file_lock import holder
from seawall.infra.private import private_file
from seawall.infra.threads import Threads
from seawall.kernel.errors import UnavailableError
from seawall.kernel.extras import need

T = TypeVar("T")
# How long a write waits for other processes to end theirs; one that was stopped (Ctrl-Z) never does.
_TURN_SECONDS = 30.0


class Database(Protocol):
    """What the domain may ask of the metadata database."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` outside a write transaction; each statement sees the newest committed data."""

    async def point(self, fn: Callable[[Connection], T]) -> T:
        """Like `read`, for a few index look-ups only: an embedded backend may run it on the event loop."""

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = True, also: Also = nothing) -> T:
        """Run `fn`, and `also` after it, in one transaction and commit. See the module text for `durable`."""

    async def check(self) -> None:
        """Ask the database for an answer once, without retries. Raises UnavailableError."""

    def writing(self) -> str:
        """`ok`, or why writes fail or wait now; known from the last ones, so it costs nothing to ask."""

    def now(self) -> float:
        """The database's clock (Unix seconds), which all instances share."""

    def change_token(self) -> int | None:
        """A number that differs after any commit by anybody, or None where the backend has no cheap one.

        A value cached under a token is current exactly as long as the token stays the same.
        """

    def sync_read(self, fn: Callable[[Connection], T]) -> T:
        """`read` for callers without an event loop (CLI, migrations)."""

    def sync_write(self, fn: Callable[[Connection], T]) -> T:
        """`write` for callers without an event loop."""

    async def close(self) -> None:
        """Finish queued writes and close every connection."""


def open_database(
    url: str,
    *,
    pool_size: int = 10,
    retry_seconds: float = 8,
    statement_seconds: int = 60,
    leased: bool = False,
) -> Database:
    """Open the database at `url` (`sqlite:///path` or `postgresql://...`).

    The rest is for PostgreSQL: connections in the pool, how long a passing fault is met with new attempts,
    how long one statement may take (0: as long as it wants), and whether writes are good under the site's
    lease only (`leased`).
    """
    if url.startswith("sqlite"):
        return SqliteDatabase(url)
    need("postgresql", "database.url with postgresql")
    from seawall.infra.db.postgres import PostgresDatabase

    return PostgresDatabase(
        url,
        pool_size=pool_size,
        retry_seconds=retry_seconds,
        statement_seconds=statement_seconds,
        leased=leased,
    )


class SqliteDatabase:
    """SQLite in WAL mode: many readers, one writer thread with group commit.

    Writers of the same process are queued to one thread, which runs each in a savepoint and commits the
    whole group with a single fsync. Processes take turns; a write that gets none is refused, and not done.
    """

    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        path = make_url(url).database
        if path:
            Path(path).parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            # SQLite gives its other files the mode of this one.
            private_file(Path(path))
        # One reader connection per thread: SQLite connections are cheap and WAL readers never block.
        self._readers = create_engine(url, poolclass=SingletonThreadPool, pool_size=64)
        event.listen(self._readers, "connect", _sqlite_connect)
        self._reader = self._readers.execution_options(isolation_level="AUTOCOMMIT")
        self._writer = create_engine(url, poolclass=NullPool)
        event.listen(self._writer, "connect", _sqlite_connect)
        event.listen(self._writer, "begin", _sqlite_begin_immediate)
        event.listen(self._writer, "handle_error", on_sqlite_error)
        for engine in (self._readers, self._writer):
            event.listen(engine, "before_cursor_execute", _begin_statement)
            event.listen(engine, "after_cursor_execute", _end_statement)
        self._pool = Threads(8, "db-read")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        self._path = path or ""
        self._write_fault = ""
        self._turn = _TurnFile(self._path)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.read."""
        asked = time.monotonic()

        def run() -> T:
            meters.WAIT.observe(time.monotonic() - asked, "read")
            with meters.using("read"):
                return self.sync_read(fn)

        with meters.counting("read"), tracing.transaction("read", fn, "sqlite"):
            return await self._pool.run(run)

    async def point(self, fn: Callable[[Connection], T]) -> T:
        """See Database.point; the look-up runs inline, which is cheaper than a thread hop."""
        with tracing.transaction("read", fn, "sqlite"):
            return self.sync_read(fn)

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = True, also: Also = nothing) -> T:
        """See Database.write."""
        # The wait for the group's turn and its commit are in it.
        with meters.counting("write"), meters.using("write"), tracing.transaction("write", fn, "sqlite"):
            future = self._submit(tracing.carried(together(fn, also)), durable)
            late = False

            def give_up() -> None:
                nonlocal late
                late = future.cancel()

            timer = asyncio.get_running_loop().call_later(_TURN_SECONDS, give_up)
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                if late:
                    raise self._late() from None
                raise
            finally:
                timer.cancel()

    async def check(self) -> None:
        """See Database.check."""
        try:
            await self.read(lambda c: c.execute(text("SELECT 1")).scalar())
        except DBAPIError as error:
            raise UnavailableError(f"database does not answer: {error.orig}") from error

    def writing(self) -> str:
        """See Database.writing."""
        return self._write_fault or "ok"

    def now(self) -> float:
        """See Database.now; SQLite has this host's clock."""
        return time.time()

    def change_token(self) -> int | None:
        """SQLite's data_version, asked on a connection that never writes, once a turn of the event loop.

        Whatever runs in a turn was queued before the turn's answer was got or is older than it, so no caller
        gets a number from before its own request.
        """
        turn: int | None = getattr(self._local, "turn", None)
        if turn is not None:
            return turn
        connection: sqlite3.Connection | None = getattr(self._local, "token", None)
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None)
            self._local.token = connection
        token = int(connection.execute("PRAGMA data_version").fetchone()[0])
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._local.turn = token
        return token

    def _end_turn(self) -> None:
        self._local.turn = None

    def sync_read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_read."""
        connection: Connection | None = getattr(self._local, "reader", None)
        if connection is None or connection.closed:
            connection = self._reader.connect()
            self._local.reader = connection
        try:
            return fn(connection)
        except DBAPIError as error:
            raise told(error) from error

    def sync_write(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_write."""
        future = self._submit(fn, True)
        try:
            return future.result(_TURN_SECONDS)
        except TimeoutError:
            # Once it has begun it has SQLite's own bound.
            if not future.cancel():
                return future.result()
            raise self._late() from None

    def _late(self) -> DatabaseError:
        self._write_fault = f"waits for {self._turn.holder()}"
        return DatabaseError(Fault.BUSY, f"the database {self._write_fault} to end its write")

    async def close(self) -> None:
        """See Database.close."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join, _TURN_SECONDS)
        self._pool.close(wait=True)
        self._readers.dispose()
        self._writer.dispose()

    def _submit(self, fn: Callable[[Connection], T], durable: bool) -> Future[T]:
        future: Future[Any] = Future()
        # Started on first use, not at import: a thread does not survive a fork.
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_loop, name="db-write", daemon=True)
                self._thread.start()
        self._queue.put(_Write(fn, durable, future))
        return future

    def _write_loop(self) -> None:
        with self._writer.connect() as connection, self._turn as turn:
            while True:
                first = self._queue.get()
                if first is None:
                    return
                with turn:
                    # Whatever came in while other processes had their turn goes along in this group.
                    group, stop = self._gather(first)
                    results = self._run_group(connection, group)
                for write, value, failure in results:
                    if failure is None:
                        write.future.set_result(value)
                    else:
                        write.future.set_exception(failure)
                if stop:
                    return

    def _gather(self, first: _Write) -> tuple[list[_Write], bool]:
        group = [first]
        while len(group) < 64:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
        return group, False

    def _run_group(
        self, connection: Connection, group: list[_Write]
    ) -> list[tuple[_Write, Any, BaseException | None]]:
        # From here on a write cannot be given up: who has given up must be sure that it does not happen.
        group = [write for write in group if write.future.set_running_or_notify_cancel()]
        results: list[tuple[_Write, Any, BaseException | None]] = []
        self._write_fault = ""
        try:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            durable = any(write.durable for write in group)
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.rollback()
            with connection.begin():
                for write in group:
                    first: DBAPIError | None = None
                    try:
                        with connection.begin_nested():
                            try:
                                value = write.fn(connection)
                            except DBAPIError as error:
                                # Without room SQLite ends the transaction, and leaving the savepoint fails.
                                first = error
                                raise
                        results.append((write, value, None))
                    except DBAPIError as error:
                        reason = self._refused(connection, first or error)
                        if self._write_fault:
                            # SQLite may have ended the transaction of the whole group.
                            raise reason from error
                        results.append((write, None, reason))
                    except Exception as error:
                        results.append((write, None, error))
                ending = time.perf_counter()
            meters.STATEMENTS.observe(time.perf_counter() - ending, "commit")
        except BaseException as error:
            # The group's commit itself failed, so nothing of it happened: every member gets the error.
            with contextlib.suppress(Exception):
                connection.rollback()
            failure = self._refused(connection, error) if isinstance(error, DBAPIError) else error
            results = [(write, None, failure) for write in group]
        return results

    def _refused(self, connection: Connection, error: DBAPIError) -> Exception:
        """What the writer gets for `error`."""
        if is_fence(error):
            return fence.refusal(connection)
        reason = told(error)
        if isinstance(reason, DatabaseError) and reason.fault is not Fault.BUSY:
            self._write_fault = reason.fault.value
        return reason


class _TurnFile:
    """Processes that write to one SQLite file take turns by `flock` on a file next to it.

    SQLite's own lock is safe without this, but waits for it by sleeping longer and longer; the kernel wakes
    the next in line at once. Entered once for the file, then once for each turn.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._mine = False

    def __enter__(self) -> _TurnFile:
        if self._fd < 0:
            if self._path:
                self._fd = os.open(f"{self._path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        else:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._mine = True
        return self

    def holder(self) -> str:
        """Who has the turn, for a message."""
        return holder(self._fd)

    def __exit__(self, *_: object) -> None:
        if self._mine:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._mine = False
        elif self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Write:
    __slots__ = ("durable", "fn", "future")

    def __init__(self, fn: Callable[[Connection], Any], durable: bool, future: Future[Any]) -> None:
        self.fn = fn
        self.durable = durable
        self.future = future


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # isolation_level None: the driver must not open transactions of its own accord.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-16000")


def _sqlite_begin_immediate(connection: Connection) -> None:
    # Taking the write lock at the start avoids "database is locked" on a later upgrade.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_statement(
    _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    context.began = time.perf_counter()


def _end_statement(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    kind = meters.kind_of(statement)
    if kind is not None:
        meters.STATEMENTS.observe(time.perf_counter() - context.began, kind)
