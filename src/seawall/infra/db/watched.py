"""Connections and cursors that can be left while an answer is waited for, and that save round trips."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.abc import PQGen

from seawall.infra.db import meters


@dataclass(frozen=True, slots=True)
class Standing:
    """A server's cluster and its timeline, which grows by one or more with each promotion."""

    system: str
    timeline: int

    def older(self, other: Standing | None) -> bool:
        """Whether `other` was promoted since."""
        return other is not None and other.system == self.system and self.timeline < other.timeline


class WatchedCursor(psycopg.Cursor[Any]):
    """A cursor whose first statement takes BEGIN along, and which waits for others (`gathering`)."""

    _kept = False

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """See psycopg.Cursor.execute."""
        alone = not params and b";" in _bytes(query)
        kind = meters.kind_of(query) if self._alone else None
        if kind is None:
            with self._together(alone=alone):
                return super().execute(query, params, **options)
        started = time.perf_counter()
        try:
            with self._together(alone=alone):
                return super().execute(query, params, **options)
        finally:
            meters.STATEMENTS.observe(time.perf_counter() - started, kind)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """See psycopg.Cursor.executemany."""
        with self._together():
            super().executemany(query, params_seq, **options)

    def close(self) -> None:
        """See psycopg.Cursor.close; what has been gathered is still to be answered."""
        if not self._kept:
            super().close()

    def end(self) -> None:
        """Close a cursor that was gathered."""
        self._kept = False
        self.close()

    @property
    def _alone(self) -> bool:
        return getattr(self.connection, "gathered", None) is None

    @contextlib.contextmanager
    def _together(self, *, alone: bool = False) -> Iterator[None]:
        connection = self.connection
        assert isinstance(connection, WatchedConnection)
        if connection.gathered is not None:
            self._kept = True
            connection.gathered.append(self)
            connection.begin_too()
            yield
        elif not connection.begins:
            yield
        elif alone:
            # Only the simple protocol takes several statements in one text, and it has no pipeline.
            connection.begin_too()
            yield
        else:
            with connection.pipeline():
                connection.begin_too()
                yield


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
    gathered: list[WatchedCursor] | None = None
    _left = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = WatchedCursor

    @contextlib.contextmanager
    def gathering(self) -> Iterator[list[WatchedCursor]]:
        """Send what is executed inside the block together; the cursors have answers only after it."""
        cursors: list[WatchedCursor] = []
        self.gathered = cursors
        self.commits = False
        started = time.perf_counter()
        try:
            with self.pipeline():
                yield cursors
        finally:
            self.gathered = None
            meters.STATEMENTS.observe(time.perf_counter() - started, "commit" if self.commits else "read")

    def begin_too(self) -> None:
        """Send BEGIN if it is due."""
        if self.begins:
            self.begins = False
            psycopg.Cursor(self).execute("BEGIN", prepare=False)

    def commit_too(self) -> None:
        """Send COMMIT along with what is gathered, unless nothing has begun."""
        if not self.begins:
            self.commits = True
            psycopg.Cursor(self).execute("COMMIT", prepare=False)

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
