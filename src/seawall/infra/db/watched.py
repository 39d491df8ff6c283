"""Connections and cursors that can be left while an answer is waited for, and that save round trips."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.generators import execute

from seawall.infra.db import burst, meters

# How the statements begin after which psycopg has the server forget all prepared statements; one of them
# goes back to a savepoint.
_FORGETTING = frozenset({b"ROLL", b"DROP", b"ALTE", b"DISC", b"DEAL"})


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's cluster and its timeline, which grows by one or more with each promotion."""

    system: str
    timeline: int

    def older(self, other: Standing | None) -> bool:
        """Whether `other` was promoted since."""
        return other is not None and other.system == self.system and self.timeline < other.timeline


class WatchedCursor(psycopg.Cursor[Any]):
    """A cursor whose first statement takes BEGIN along, and which can leave its statements to `gathering`."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """See psycopg.Cursor.execute."""
        connection = self._watched
        if connection.gathered is not None:
            connection.gathered.append(burst.of_cursor(query, [params]))
            return self
        kind = meters.kind_of(query)
        started = time.perf_counter()
        try:
            if not connection.begins:
                return super().execute(query, params, **options)
            if not params and b";" in _bytes(query):
                # Only the simple protocol takes several statements in one text, and it has no pipeline.
                connection.begin()
                return super().execute(query, params, **options)
            with connection.pipeline():
                connection.begin()
                return super().execute(query, params, **options)
        finally:
            if kind is not None:
                meters.STATEMENTS.observe(time.perf_counter() - started, kind)
            elif _bytes(query).lstrip()[:4].upper() in _FORGETTING and not connection.closed:
                connection.forget()

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """See psycopg.Cursor.executemany."""
        connection = self._watched
        if connection.gathered is not None:
            connection.gathered.append(burst.of_cursor(query, list(params_seq)))
            return
        if connection.begins:
            connection.begin()
        super().executemany(query, params_seq, **options)

    @property
    def _watched(self) -> WatchedConnection:
        connection = self.connection
        assert isinstance(connection, WatchedConnection)
        return connection


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that can be left from another thread while an answer is waited for.

    `waits_since`: monotonic time, 0 while nobody waits. `limit`: longest wait for an answer (seconds; 0:
    none). `begins`: a transaction begins with the next statement; psycopg, which is in autocommit mode then,
    would send BEGIN alone and wait for its answer.
    """

    host = 0
    standing: Standing | None = None
    waits_since = 0.0
    limit = 0.0
    begins = False
    commits = False
    gathered: list[burst.Sent] | None = None
    _left = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = WatchedCursor
        self._prepared_here = burst.Prepared()

    @contextlib.contextmanager
    def gathering(self) -> Iterator[list[burst.Sent]]:
        """Send what is executed inside the block together; there are answers only after it."""
        sent: list[burst.Sent] = []
        self.gathered = sent
        self.commits = False
        started = time.perf_counter()
        try:
            try:
                yield sent
            finally:
                self.gathered = None
            self._send(sent)
        finally:
            meters.STATEMENTS.observe(time.perf_counter() - started, "commit" if self.commits else "read")

    def _send(self, sent: list[burst.Sent]) -> None:
        begun = not self.autocommit and self.pgconn.transaction_status != pq.TransactionStatus.IDLE
        first = self.begins or not (self.autocommit or begun)
        whole = [
            *([burst.Sent(burst.BEGIN)] if first and sent else []),
            *sent,
            *([burst.Sent(burst.COMMIT)] if self.commits else []),
        ]
        if not whole:
            return
        if self.closed:
            raise psycopg.OperationalError("the connection is closed")
        self.begins = False
        with self.lock:
            self.wait(burst.exchange(self, whole, self._prepared_here))

    def begin(self) -> None:
        """Send BEGIN, which is due."""
        self.begins = False
        psycopg.Cursor(self).execute("BEGIN", prepare=False)

    def commit_too(self) -> None:
        """Send COMMIT along with what is gathered, unless nothing has begun."""
        self.commits = bool(self.gathered) or not self.begins

    def rollback(self) -> None:
        """See psycopg.Connection.rollback, which may make the server forget what it has prepared."""
        idle = self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        super().rollback()
        if not idle:
            self.forget()

    def forget(self) -> None:
        """Prepare statements again: psycopg may have made the server forget those of `gathering` too."""
        if not len(self._prepared_here):
            return
        self._prepared_here.clear()
        # Not by a cursor, which might begin a transaction.
        with self.lock:
            self.pgconn.send_query(b"DEALLOCATE ALL")
            self.wait(execute(self.pgconn))

    def leave(self, reason: str) -> None:
        """Make those that wait, or ask next, get OperationalError with `reason`; from any thread."""
        self._left = self._left or reason

    def wait(self, gen: PQGen[Any], *arguments: Any, **options: Any) -> Any:
        """See psycopg.Connection.wait."""
        self.waits_since = time.monotonic()
        try:
            return super().wait(self._until_left(gen), *arguments, **options)
        finally:
            self.waits_since = 0.0

    def _until_left(self, gen: PQGen[Any]) -> PQGen[Any]:
        if self._left:
            self._end(self._left)
        until = time.monotonic() + self.limit if self.limit else 0.0
        try:
            wanted = next(gen)
            while True:
                # False ten times a second while nothing is ready.
                ready = yield wanted
                # Also when there is an answer: a server that was left has only old ones.
                if self._left:
                    self._end(self._left)
                if not ready and until and time.monotonic() > until:
                    self._end(f"no answer in {self.limit:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _end(self, reason: str) -> None:
        self.pgconn.finish()
        raise psycopg.OperationalError(reason)


def _bytes(query: Any) -> bytes:
    return query if isinstance(query, bytes) else str(query).encode()
