"""PostgreSQL: pooled connections that survive a failover.

Three kinds of fault end an attempt, and each is met in its own way until `retry_seconds` are over:

* conflict (serialisation failure, deadlock): the transaction did not happen; it is run again.
* lost connection, server shutting down, or a server that has become a read-only standby: every pooled
  connection is dropped, and the next attempt connects anew, to whichever host of the URL accepts writes. So a
  promoted standby is found without a restart.
* connection lost *during COMMIT*: whether the transaction happened is unknown, and running it again could do
  it twice. So every writing transaction first sets its number in the connection's row of `commit_markers`.
  A later connection takes that row's lock, which waits for the old transaction to end if the server still
  runs it, and reads the number: the write happened exactly if the number is there. On a promoted standby
  the marker is there exactly if the transaction was replicated.

A cut network is noticed in about 4 seconds by TCP keepalives (idle connections) and TCP_USER_TIMEOUT (sent
data without acknowledgement); the server is told to notice vanished clients likewise, so that their row
locks go.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from seawall.infra.db import fence
from seawall.kernel.context import accompanied
from seawall.kernel.errors import UnavailableError

T = TypeVar("T")

# SQLSTATEs (PostgreSQL manual, appendix A). Conflicts: serialization_failure, deadlock_detected.
_CONFLICT = frozenset({"40001", "40P01"})
# read_only_sql_transaction (a failover left us on a standby), admin_shutdown, crash_shutdown,
# cannot_connect_now, idle_session_timeout, idle_in_transaction_session_timeout, too_many_connections.
_LOST = frozenset({"25006", "57P01", "57P02", "57P03", "57P05", "25P03", "53300"})
# What no waiting mends. Errors of connecting carry no SQLSTATE, only libpq's text.
_PERMANENT = re.compile(
    r"password authentication failed|database \".*\" does not exist|role \".*\" does not exist"
    r"|no pg_hba\.conf entry|certificate verify failed|server does not support SSL"
    r"|does not match host name|root certificate file|private key file"
)
# How a vanished peer is found out (libpq "keepalives..."; seconds, tcp_user_timeout in milliseconds).
_CONNECTION = {
    "target_session_attrs": "read-write",
    "connect_timeout": "2",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
    "application_name": "seawall",
}
# The server's side of it. A transaction whose client vanished must not hold its locks for long.
_SESSION = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;"
    "SET tcp_user_timeout = 3000"
)
_MARK = text(
    "INSERT INTO commit_markers (connection, number, at)"
    " SELECT :connection, :number, :at"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    # Not durable means "may be lost by a power cut", never "may be lost by a failover": with synchronous
    # standbys the commit still waits until one of them has it.
    " AND (:durable OR set_config('synchronous_commit',"
    "   CASE current_setting('synchronous_standby_names') WHEN '' THEN 'off' ELSE 'remote_write' END,"
    "   true) IS NOT NULL)"
    " ON CONFLICT (connection) DO UPDATE SET number = excluded.number, at = excluded.at"
)
# Taking the row (or, where there is none, its place in the index) waits for whoever holds it.
_ASK = text(
    "INSERT INTO commit_markers (connection, number, at) VALUES (:connection, -1, :at)"
    " ON CONFLICT (connection) DO UPDATE SET at = excluded.at RETURNING number"
)
_SWEEP = text(
    "DELETE FROM commit_markers WHERE connection IN"
    " (SELECT connection FROM commit_markers WHERE at < :before LIMIT 100 FOR UPDATE SKIP LOCKED)"
)
_MARKER_SECONDS = 86400.0
_HEAD_START = 0.3
# When the current task's last wait for a database that is away ended (monotonic), and how long that counts.
_waited_until: ContextVar[float] = ContextVar("waited_until", default=-1e9)
_ONCE_SECONDS = 1.0


def connection_info(url: str) -> str:
    """libpq's connection string for `url`, with what Seawall relies on filled in where it is not given.

    Raises ValueError when libpq cannot read the URL.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ValueError(str(error).strip()) from None
    return make_conninfo("", **{**_CONNECTION, **{key: str(value) for key, value in given.items()}})


def postgres_engine(
    url: str,
    pool_size: int,
    *,
    statement_seconds: int = 0,
    lock_seconds: int = 0,
    idle_seconds: int = 0,
    pool_seconds: float = 30,
) -> Engine:
    """A pooled engine; the `_seconds` are PostgreSQL's timeouts of that name, 0 for none."""
    hosts = _Hosts(connection_info(url))
    session = (
        f"{_SESSION}; SET statement_timeout = {statement_seconds * 1000};"
        f"SET lock_timeout = {lock_seconds * 1000};"
        f"SET idle_in_transaction_session_timeout = {idle_seconds * 1000}"
    )

    def connect() -> Any:
        connection = hosts.connect()
        try:
            connection.execute(session)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    # libpq's parser reads the URL (creator): SQLAlchemy's does not take lists of hosts with ports.
    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_seconds,
        pool_recycle=1800,
    )


class _Hosts:
    """Connects to whichever host takes writes.

    libpq would try the hosts one after the other, and one that is cut off costs it `connect_timeout` each
    time. Here the host that was right the last time gets a head start, then all are tried at once.
    """

    def __init__(self, conninfo: str) -> None:
        params = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
        hosts = params.get("host", "").split(",")
        ports = params.get("port", "").split(",")
        self._each = [conninfo]
        if len(hosts) > 1 and "hostaddr" not in params:
            ports = ports * len(hosts) if len(ports) == 1 else ports
            self._each = [
                make_conninfo("", **{**params, "host": host, "port": port or "5432"})
                for host, port in zip(hosts, ports, strict=True)
            ]
        self._best = 0

    def connect(self) -> psycopg.Connection[Any]:
        """A connection in autocommit mode. Raises psycopg.OperationalError when no host takes writes."""
        if len(self._each) == 1:
            return psycopg.connect(self._each[0], autocommit=True)
        best = self._best
        order = [best, *(index for index in range(len(self._each)) if index != best)]
        race = _Race()
        threading.Thread(target=race.run, args=(best, self._each[best]), daemon=True).start()
        won = race.wait(1, _HEAD_START)
        if won is None:
            for index in order[1:]:
                threading.Thread(target=race.run, args=(index, self._each[index]), daemon=True).start()
            won = race.wait(len(order))
        if won is None:
            raise race.error()
        self._best, connection = won
        return connection


class _Race:
    """The first connection of several attempts; the others are closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._winner: tuple[int, psycopg.Connection[Any]] | None = None
        self._errors: list[Exception] = []

    def run(self, index: int, conninfo: str) -> None:
        """One attempt, in a thread of its own."""
        try:
            connection = psycopg.connect(conninfo, autocommit=True)
        except Exception as error:
            with self._changed:
                self._errors.append(error)
                self._changed.notify_all()
            return
        with self._changed:
            late = self._winner is not None
            if not late:
                self._winner = index, connection
                self._changed.notify_all()
        if late:
            connection.close()

    def wait(self, attempts: int, seconds: float | None = None) -> tuple[int, psycopg.Connection[Any]] | None:
        """The winner; None when `attempts` attempts failed or `seconds` went by."""
        with self._changed:
            self._changed.wait_for(lambda: self._winner or len(self._errors) >= attempts, seconds)
            return self._winner

    def error(self) -> Exception:
        """Why all failed: what waiting does not mend rather than the rest."""
        lasting = [error for error in self._errors if _PERMANENT.search(str(error))]
        return (lasting or self._errors)[0]


class _InDoubtError(Exception):
    """The connection broke during COMMIT."""

    def __init__(self, connection: str, number: int, value: Any, cause: DBAPIError) -> None:
        self.connection = connection
        self.number = number
        self.value = value
        self.cause = cause


class PostgresDatabase:
    """See seawall.infra.db.engine.Database; functions run in threads, one for each pooled connection."""

    dialect = "postgresql"

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        retry_seconds: float = 8,
        statement_seconds: int = 60,
        leased: bool = False,
    ) -> None:
        self.url = url
        self._engine = postgres_engine(
            url,
            pool_size,
            statement_seconds=statement_seconds,
            lock_seconds=10,
            idle_seconds=30,
            pool_seconds=retry_seconds + 2,
        )
        self._auto = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pool = ThreadPoolExecutor(pool_size, thread_name_prefix="db")
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        # Counts how often the pool was dropped, so that threads which fail together drop it once.
        self._generation = 0
        self._down = False
        # Writes are good under a lease only: whether it still runs is asked once more before each commit.
        self.leased = leased

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.read."""
        return await self._submit(lambda deadline: self._run(lambda: self._read(fn), deadline))

    async def point(self, fn: Callable[[Connection], T]) -> T:
        """See Database.point."""
        return await self.read(fn)

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        """See Database.write."""
        fn = accompanied(fn)
        return await self._submit(lambda deadline: self._run(lambda: self._write(fn, durable), deadline))

    async def check(self) -> None:
        """See Database.check."""

        def once(deadline: float) -> None:
            del deadline
            self._run(lambda: self._read(lambda c: c.execute(text("SELECT 1")).scalar()), 0)

        await self._submit(once)

    def change_token(self) -> int | None:
        """PostgreSQL has no cheap change counter."""
        return None

    def sync_read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_read."""
        return self._run(lambda: self._read(fn), self._deadline())

    def sync_write(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_write."""
        return self._run(lambda: self._write(fn, True), self._deadline())

    async def close(self) -> None:
        """See Database.close."""
        await asyncio.to_thread(self._pool.shutdown, wait=True)
        self._engine.dispose()

    def _deadline(self) -> float:
        return time.monotonic() + self._retry_seconds

    async def _submit(self, work: Callable[[float], T]) -> T:
        # The time in the queue counts: behind a database that is away, requests fail together after
        # retry_seconds instead of each waiting for its turn to wait.
        now = time.monotonic()
        # A request that has waited in vain does so once: what it does about it must not wait as long again.
        again = now - _waited_until.get() < _ONCE_SECONDS
        deadline = now if again else self._deadline()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, deadline)
        except UnavailableError:
            if not again:
                _waited_until.set(time.monotonic())
            raise

    def _run(self, attempt: Callable[[], T], deadline: float) -> T:
        """`attempt` until it succeeds, fails for good, or `deadline` (monotonic) is over."""
        delay = 0.02
        if self._down and time.monotonic() >= deadline > 0:
            raise UnavailableError("database does not answer")
        while True:
            generation = self._generation
            try:
                value = attempt()
                self._down = False
                return value
            except _InDoubtError as doubt:
                self._drop_pool(generation)
                if self._happened(doubt, max(deadline, time.monotonic() + 1)):
                    return doubt.value  # type: ignore[no-any-return]
                cause: Exception = doubt.cause
            except PoolTimeoutError as error:
                raise UnavailableError("no database connection became free") from error
            except DBAPIError as error:
                kind = fault_of(error)
                if kind is None:
                    if fence.is_fence(error):
                        raise self._read(fence.refusal) from None
                    raise
                if kind == "lost":
                    self._drop_pool(generation)
                cause = error
            if time.monotonic() + delay >= deadline:
                if isinstance(cause, DBAPIError) and fault_of(cause) == "conflict":
                    raise cause
                self._down = True
                reason = str(getattr(cause, "orig", cause)).strip().splitlines()
                raise UnavailableError(f"database does not answer: {reason[0] if reason else ''}") from cause
            # Spread out, so that two transactions in conflict do not meet again.
            time.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
            delay = min(delay * 2, 0.5)

    def _drop_pool(self, generation: int) -> None:
        with self._lock:
            if self._generation == generation:
                self._generation += 1
                self._engine.dispose()

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with self._auto.connect() as connection:
            return fn(connection)

    def _write(self, fn: Callable[[Connection], T], durable: bool) -> T:
        with self._engine.connect() as connection:
            # `info` lives as long as the connection to the server.
            info = connection.info
            marker = info.setdefault("marker", secrets.token_hex(16))
            number = info["number"] = info.get("number", 0) + 1
            now = time.time()
            value = fn(connection)
            if self.leased:
                fence.check_again(connection)
            if number == 1:
                connection.execute(_SWEEP, {"before": now - _MARKER_SECONDS})
            marked = connection.execute(
                _MARK, {"connection": marker, "number": number, "at": now, "durable": durable}
            ).rowcount
            try:
                connection.commit()
            except DBAPIError as error:
                if marked and fault_of(error) == "lost":
                    raise _InDoubtError(marker, number, value, error) from error
                raise
            return value

    def _happened(self, doubt: _InDoubtError, deadline: float) -> bool:
        """Whether the transaction in doubt was committed. Raises UnavailableError when nobody can tell."""
        while True:
            generation = self._generation
            try:
                with self._engine.connect() as connection:
                    connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                    found = connection.execute(
                        _ASK, {"connection": doubt.connection, "at": time.time()}
                    ).scalar_one()
                    connection.rollback()
                    return bool(found == doubt.number)
            except DBAPIError as error:
                # lock_not_available: the old transaction is still running.
                waiting = getattr(error.orig, "sqlstate", None) == "55P03"
                if not waiting and fault_of(error) is None:
                    raise
                if not waiting:
                    self._drop_pool(generation)
                if time.monotonic() >= deadline:
                    self._down = not waiting
                    raise UnavailableError(
                        "database connection broke during a commit; whether it happened is not known"
                    ) from error
                time.sleep(0.2)


def fault_of(error: DBAPIError) -> str | None:
    """`conflict`, `lost`, or None for an error that trying again does not mend."""
    state = getattr(error.orig, "sqlstate", None)
    if state in _CONFLICT:
        return "conflict"
    if _PERMANENT.search(str(error.orig)):
        return None
    if state in _LOST or (state or "").startswith("08"):
        return "lost"
    if error.connection_invalidated:
        return "lost"
    # Failing to connect: no SQLSTATE, the text is libpq's.
    return "lost" if state is None and isinstance(error.orig, psycopg.OperationalError) else None
