"""PostgreSQL: pooled connections that survive a failover.

Three kinds of fault end an attempt, and each is met in its own way until `retry_seconds` are over:

* conflict (serialisation failure, deadlock): the transaction did not happen; it is run again.
* lost connection, server shutting down, or a server that has become a read-only standby: every pooled
  connection is dropped, and the next attempt connects again, to the host of the URL that accepts writes. So a
  promoted standby is found without a restart.
* connection lost *during COMMIT*: whether the transaction happened is unknown, and running it again could do
  it twice. So every writing transaction sets its number in the connection's row of `commit_markers`, along
  with COMMIT. A later connection takes that row's lock, which waits for the old transaction to end if the
  server has its number, and reads it: the write happened exactly if the number is there. If it is not, the
  row is closed: a COMMIT that is still on its way (a slow network, a proxy between) fails when it arrives. On
  a promoted standby the marker is there exactly if the transaction was replicated.

A cut network is noticed in about 4 seconds by TCP keepalives (idle connections) and TCP_USER_TIMEOUT (sent
data without acknowledgement); the server is set to notice vanished clients likewise, so that their row
locks go. A server that hangs is found by asking it (see `seawall.infra.db.hosts`).

Reads and writes have connections of their own, and so has the health check: with a synchronous standby that
hangs, every commit waits, and what only reads must go on meanwhile. A request waits for its turn, and as
long for its commit (`lanes.ANSWER_SECONDS`), then it gets 503. It waits longer for its turn while others get
theirs: the database is only busy then. The commit itself is waited for on and on: a
connection that is closed meanwhile would leave its process on the server, and the next one another, until
the server has none left for reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from seawall.infra import tracing
from seawall.infra.db import batch, fence, meters
from seawall.infra.db.connections import connection_info
from seawall.infra.db.faults import DatabaseError, Fault, is_fence, told, transient
from seawall.infra.db.hosts import Hosts
from seawall.infra.db.lanes import Lane, Work, asked_at, waited_until
from seawall.infra.db.together import Also, nothing, together
from seawall.infra.threads import Answer
from seawall.kernel.errors import UnavailableError

T = TypeVar("T")

_MARK = text(
    "INSERT INTO commit_markers (connection, number, at)"
    " SELECT :connection, :number, :at"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    # Not durable means "may be lost by a power cut", never "may be lost by a failover": with synchronous
    # standbys the commit still waits until one of them has it.
    " AND (:durable OR set_config('synchronous_commit',"
    "   CASE current_setting('synchronous_standby_names') WHEN '' THEN 'off' ELSE 'remote_write' END,"
    "   true) IS NOT NULL)"
    # A division by zero, and so no commit, where `_ASK` has closed the row.
    " ON CONFLICT (connection) DO UPDATE SET at = excluded.at,"
    "   number = excluded.number / (CASE WHEN commit_markers.number < 0 THEN 0 ELSE 1 END)"
)
# Taking the row (or, where there is none, its place in the index) waits for its holder. -1 closes it.
_ASK = text(
    "INSERT INTO commit_markers (connection, number, at) VALUES (:connection, -1, :at)"
    " ON CONFLICT (connection) DO UPDATE SET at = excluded.at,"
    "   number = CASE commit_markers.number WHEN :number THEN commit_markers.number ELSE -1 END"
    " RETURNING number"
)
_SWEEP = text(
    "DELETE FROM commit_markers WHERE connection IN"
    " (SELECT connection FROM commit_markers WHERE at < :before LIMIT 100 FOR UPDATE SKIP LOCKED)"
)
_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_GOOD_CLOCK_SECONDS = 1.0
_MARKER_SECONDS = 86400.0
_LOOK_SECONDS = 0.25
# A commit that takes longer is shown by the health check.
_SLOW_COMMIT_SECONDS = 3.0
# What a request gets to do its work at another server, after the first one hung.
_MOVED_SECONDS = 2.0
_CLOSE_SECONDS = 5.0
# How long a wait in vain counts (`lanes.waited_until`).
_ONCE_SECONDS = 1.0


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
        """`pool_size`: connections of the process.

        One is to check and one for `notify.listen`; the others are for reads and writes, at least one each.
        """
        self.url = url
        self.hosts = Hosts(connection_info(url), self._drop_pools)
        # How far the database's clock is ahead of this host's (seconds).
        self._ahead = 0.0
        self._clock_known = False

        def lane(size: int, name: str) -> Lane:
            found = Lane(self.hosts, max(1, size), name, statement_seconds, retry_seconds + 2)
            event.listen(found.engine, "connect", self._first_look)
            return found

        self._reads = lane((pool_size - 2) // 2, "db-read")
        self._writes = lane((pool_size - 1) // 2, "db-write")
        self._checks = lane(1, "db-check")
        self._lanes = (self._reads, self._writes, self._checks)
        for item in self._lanes:
            meters.LIMIT.set(item.size, item.pool)
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        # Counts how often the pools were dropped, so that threads which fail together drop them once.
        self._generation = 0
        self._down = False
        self._write_fault = ""
        self._closed = threading.Event()
        self._clerk: threading.Thread | None = None
        # Writes are good under a lease only: whether it still runs is asked once more before each commit.
        self.leased = leased

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.read."""
        lane = self._reads
        with tracing.transaction("read", fn, "postgresql"):
            return await self._submit(
                lane, lambda work: self._run(lambda: self._read(lane, fn), work.deadline)
            )

    async def point(self, fn: Callable[[Connection], T]) -> T:
        """See Database.point."""
        return await self.read(fn)

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = True, also: Also = nothing) -> T:
        """See Database.write."""
        with tracing.transaction("write", fn, "postgresql"):
            carried = tracing.carried(together(fn, also))
            return await self._submit(self._writes, lambda work: self._write_run(carried, durable, work))

    async def check(self) -> None:
        """See Database.check."""
        lane = self._checks

        def ask(connection: Connection) -> None:
            before = time.time()
            there = connection.execute(_CLOCK).scalar_one()
            self._set_clock(before, there, time.time())

        def once(_work: Work) -> None:
            self._run(lambda: self._read(lane, ask), 0)

        await self._submit(lane, once)

    def writing(self) -> str:
        """See Database.writing."""
        now = time.monotonic()
        with self._lock:
            waits = [work.commits_since for work in self._writes.works if work.commits_since]
        longest = max((now - since for since in waits), default=0.0)
        if longest > _SLOW_COMMIT_SECONDS:
            return f"a commit waits for {longest:.0f} s"
        return self._write_fault or "ok"

    def now(self) -> float:
        """See Database.now."""
        return time.time() + self._ahead

    def _first_look(self, connection: Any, _record: Any) -> None:
        if self._clock_known:
            return
        before = time.time()
        cursor = connection.execute(str(_CLOCK))
        self._set_clock(before, cursor.fetchone()[0], time.time())
        connection.rollback()

    def _set_clock(self, before: float, there: float, after: float) -> None:
        # The middle of the question's way is the best guess for when the database read its clock; a slow
        # answer is a bad guess, but better than none.
        if after - before < _GOOD_CLOCK_SECONDS or not self._clock_known:
            self._ahead = there - (before + after) / 2
            self._clock_known = True

    def change_token(self) -> int | None:
        """PostgreSQL has no cheap change counter."""
        return None

    def sync_read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_read."""
        return self._run(lambda: self._read(self._reads, fn), self._deadline())

    def sync_write(self, fn: Callable[[Connection], T]) -> T:
        """See Database.sync_write."""
        return self._write_run(fn, True, Work(self._deadline()))

    async def close(self) -> None:
        """See Database.close."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for lane in self._lanes:
            lane.threads.close()
        deadline = time.monotonic() + _CLOSE_SECONDS
        while any(lane.works for lane in self._lanes) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._closed.set()
        # What still waits for its commit may wait for ever.
        self.hosts.close()
        for lane in self._lanes:
            lane.threads.close(wait=True)
            lane.engine.dispose()

    def _deadline(self) -> float:
        return time.monotonic() + self._retry_seconds

    async def _submit(self, lane: Lane, run: Callable[[Work], T]) -> T:
        # The time in the queue counts: behind a database that is away, requests fail together after
        # retry_seconds instead of each waiting for its turn to wait.
        now = time.monotonic()
        # A request that has waited in vain does so once: what it does about it must not wait as long again.
        again = now - waited_until.get() < _ONCE_SECONDS
        queued = asked_at.get() or now
        answer = Answer()
        work = Work(now if again else queued + self._retry_seconds, queued, answer)
        above = tracing.current()

        def job() -> None:
            waited = time.monotonic() - now
            meters.WAIT.observe(waited, lane.pool)
            if above is not None:
                above.set("seawall.wait_seconds", waited)
            try:
                with work.lock:
                    if work.given_up or not work.wanted:
                        return
                    work.started = True
                with meters.using(lane.pool):
                    value = run(work)
                lane.answered = time.monotonic()
                work.settle(value)
            except BaseException as error:
                work.settle(error=error)
            finally:
                with self._lock:
                    lane.works.discard(work)

        with self._lock:
            lane.works.add(work)
            if self._clerk is None:
                self._clerk = threading.Thread(
                    target=_give_up_late, args=(weakref.ref(self),), name="db-clerk", daemon=True
                )
                self._clerk.start()
        try:
            lane.threads.submit(job)
        except RuntimeError:
            with self._lock:
                lane.works.discard(work)
            raise UnavailableError("the database is closed") from None
        try:
            return await answer.future  # type: ignore[no-any-return]
        except UnavailableError:
            meters.ERRORS.inc(lane.pool)
            if not again:
                waited_until.set(time.monotonic())
            raise

    def give_up_late(self) -> bool:
        """Answer those who have waited too long. Returns whether to go on."""
        now = time.monotonic()
        for lane in self._lanes:
            with self._lock:
                works = list(lane.works)
            for work in works:
                work.give_up(now, lane.answered)
                if work.given_up and not work.started:
                    with self._lock:
                        lane.works.discard(work)
        return not self._closed.is_set()

    def _write_run(self, fn: Callable[[Connection], T], durable: bool, work: Work) -> T:
        try:
            value = self._run(lambda: self._write(fn, durable, work), work.deadline)
        except DatabaseError as error:
            if error.fault in (Fault.FULL, Fault.BROKEN, Fault.REFUSED):
                self._write_fault = error.fault.value
            raise
        self._write_fault = ""
        return value

    def _run(self, attempt: Callable[[], T], deadline: float) -> T:
        """`attempt` until it succeeds, fails for good, or `deadline` (monotonic) is over."""
        delay = 0.02
        if self._down and time.monotonic() >= deadline > 0:
            raise UnavailableError("database does not answer")
        while True:
            generation, moves = self._generation, self.hosts.moves
            try:
                value = attempt()
                self._down = False
                return value
            except _InDoubtError as doubt:
                self._drop_pool(generation)
                if self._happened(doubt, max(deadline, time.monotonic() + 1)):
                    return doubt.value  # type: ignore[no-any-return]
                cause: Exception = doubt.cause
            except fence.ClosedError:
                raise self._read(self._reads, fence.refusal) from None
            except PoolTimeoutError as error:
                raise UnavailableError("no database connection became free") from error
            except DBAPIError as error:
                kind = transient(error)
                if kind is None:
                    if is_fence(error):
                        raise self._read(self._reads, fence.refusal) from None
                    raise told(error) from error
                if kind is Fault.LOST:
                    self._drop_pool(generation)
                cause = error
            if self.hosts.moves != moves and deadline > 0:
                # A server that hung was left for another one, which deserves an attempt.
                deadline = max(deadline, time.monotonic() + _MOVED_SECONDS)
            if time.monotonic() + delay >= deadline:
                if isinstance(cause, DBAPIError) and transient(cause) is Fault.CONFLICT:
                    raise DatabaseError(
                        Fault.CONFLICT, f"database: {Fault.CONFLICT.value}; try again"
                    ) from cause
                self._down = True
                reason = str(getattr(cause, "orig", cause)).strip().splitlines()
                raise UnavailableError(f"database does not answer: {reason[0] if reason else ''}") from cause
            # Spread out, so that two transactions in conflict do not meet again.
            time.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
            delay = min(delay * 2, 0.5)

    def _drop_pool(self, generation: int) -> None:
        with self._lock:
            if self._generation != generation:
                return
        self._drop_pools()

    def _drop_pools(self) -> None:
        with self._lock:
            self._generation += 1
        for lane in self._lanes:
            lane.engine.dispose()

    def _read(self, lane: Lane, fn: Callable[[Connection], T]) -> T:
        with lane.auto.connect() as connection:
            return fn(connection)

    def _write(self, fn: Callable[[Connection], T], durable: bool, work: Work) -> T:
        with self._writes.engine.connect() as connection:
            # `info` lives as long as the connection to the server.
            info = connection.info
            marker = info.setdefault("marker", secrets.token_hex(16))
            number = info["number"] = info.get("number", 0) + 1
            now = time.time()
            raw: Any = connection.connection.dbapi_connection
            limit = raw.limit
            raw.begins = True
            batch.begin(info)
            try:
                value = fn(connection)
                items = batch.end(info)
                if raw.begins and not items:
                    return value
                if number == 1:
                    items.insert(0, batch.Later(_SWEEP, {"before": now - _MARKER_SECONDS}))
                if self.leased:
                    items.append(fence.still_open())
                marked = {"connection": marker, "number": number, "at": now, "durable": durable}
                items.append(batch.Later(_MARK, marked))
                work.begin_commit()
                raw.limit = 0
                try:
                    batch.send(connection, raw, items, commit=True)
                except DBAPIError as error:
                    # Also where COMMIT was not sent any more; then the marker is not there.
                    if transient(error) is Fault.LOST:
                        # What is left of the connection may fail to roll back, and that error would hide
                        # the doubt: the transaction would be run again.
                        if not connection.invalidated:
                            connection.invalidate(error)
                        raise _InDoubtError(marker, number, value, error) from error
                    raise
                # The server has committed; this tells SQLAlchemy. Where the connection broke since, the pool
                # drops it: running the transaction again would do it twice.
                with contextlib.suppress(DBAPIError):
                    connection.commit()
            finally:
                batch.end(info)
                raw.begins = False
                raw.limit = limit
            return value

    def _happened(self, doubt: _InDoubtError, deadline: float) -> bool:
        """Whether the transaction in doubt was committed. Raises UnavailableError when nobody can tell."""
        while True:
            generation = self._generation
            try:
                with self._writes.engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN")
                    connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                    # A server that forgets the closed row has forgotten the old transaction too.
                    connection.execute(text("SET LOCAL synchronous_commit = 'off'"))
                    asked = {"connection": doubt.connection, "number": doubt.number, "at": time.time()}
                    found = connection.execute(_ASK, asked).scalar_one()
                    connection.exec_driver_sql("COMMIT")
                    return bool(found == doubt.number)
            except DBAPIError as error:
                # lock_not_available: the old transaction is still running.
                waiting = getattr(error.orig, "sqlstate", None) == "55P03"
                if not waiting and transient(error) is None:
                    # Not a DatabaseError, which tells the caller that nothing was committed.
                    raise UnavailableError(
                        f"whether a commit happened is not known: {told(error)}"
                    ) from error
                if not waiting:
                    self._drop_pool(generation)
                if time.monotonic() >= deadline:
                    self._down = not waiting
                    raise UnavailableError(
                        "database connection broke during a commit; whether it happened is not known"
                    ) from error
                time.sleep(0.2)


def _give_up_late(watched: weakref.ref[PostgresDatabase]) -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        db = watched()
        if db is None or not db.give_up_late():
            return
        del db
