"""Look-ups that go out together: what is asked while a question is under way shares the next one.

A server that answers many requests at once asks PostgreSQL for one row each, and each question costs the
database and this process far more than finding the row. So one statement asks for all that waits, and the
work grows with time, not with requests. Nothing is remembered: a request is answered by a statement that
began after it asked, so it sees all that was committed before, by any instance. A question waits for at most
the one that is under way; one that takes long does not hold the next.

    lookups = Gatherer(db, find_blobs)          # find_blobs(connection, [(name, digest), ...]) -> {key: row}
    row = await lookups.get((name, digest))     # None: there is none
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import Connection, Select, Text, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import visitors

from seawall.infra import tracing
from seawall.infra.db import lanes
from seawall.infra.db.faults import DatabaseError
from seawall.infra.db.lanes import waited_until
from seawall.kernel.errors import UnavailableError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")

# Keys of one statement. What is asked beyond them waits for the next.
_MOST = 256
# A question that is under way for so long (seconds) no longer holds the next, up to so many at once.
_LATE = 0.02
_AT_ONCE = 4
# Who asked within so long (seconds) shares an answer, and the end of the wait for one.
_SLICE = 0.1


class Reader(Protocol):
    """What is asked of a Database."""

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """See Database.read."""

    async def point(self, fn: Callable[[Connection], T]) -> T:
        """See Database.point."""

    def change_token(self) -> int | None:
        """See Database.change_token."""


@dataclass(frozen=True, slots=True)
class _Asked(Generic[K, V]):
    """What some wait for, the first of them since `since` (monotonic)."""

    key: K
    since: float
    future: asyncio.Future[V | None]


class Gatherer(Generic[K, V]):
    """Asks one question for all who ask at the same time; one event loop at a time.

    SQLite is in this process: there each asks for itself.
    """

    def __init__(self, db: Reader, look: Callable[[Connection, Sequence[K]], Mapping[K, V]]) -> None:
        """`look`: finds what there is of several keys, in one statement."""
        self._db = db
        self._look = look
        self._reset(None)

    def _reset(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        # By key and slice of time, in the order in which they were asked.
        self._waiting: dict[tuple[int, K], _Asked[K, V]] = {}
        # When each question that is under way began (monotonic).
        self._under_way: dict[object, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def get(self, key: K) -> V | None:
        """What there is of `key`. Raises what `Database.read` does."""
        if self._db.change_token() is not None:
            return (await self._db.point(lambda c: self._look(c, [key]))).get(key)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._reset(loop)
        if not self._under_way and not self._waiting:
            return await self._alone(key)
        with tracing.transaction("read", self._look, "postgresql"):
            now = time.monotonic()
            place = (int(now / _SLICE), key)
            asked = self._waiting.get(place)
            if asked is None:
                asked = self._waiting[place] = _Asked(key, now, loop.create_future())
                # That all who asked have gone is not a reason to warn of an error.
                asked.future.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._begin()
            try:
                # Shielded: who goes away must not take the answer from the others.
                return await asyncio.shield(asked.future)
            except UnavailableError:
                waited_until.set(time.monotonic())
                raise

    async def _alone(self, key: K) -> V | None:
        """Ask at once: nobody else may be answered by a question that has begun."""
        mark = object()
        self._under_way[mark] = time.monotonic()
        try:
            return (await self._db.read(lambda c: self._look(c, [key]))).get(key)
        finally:
            self._ended(mark)

    def _begin(self) -> None:
        """Ask for what waits, unless a question is under way that began just now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        assert self._loop is not None
        now = time.monotonic()
        if len(self._under_way) >= _AT_ONCE:
            self._wait_for_them(self._loop, now)
            return
        if self._under_way:
            late = max(self._under_way.values()) + _LATE
            if now < late:
                self._timer = self._loop.call_later(late - now, self._begin)
                return
        asked = dict(list(self._waiting.items())[:_MOST])
        for place in asked:
            del self._waiting[place]
        # Of nobody's context: it is not one request that waits.
        task = self._loop.create_task(self._ask(list(asked.values())), context=Context())
        self._under_way[task] = now
        task.add_done_callback(self._ended)

    def _wait_for_them(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Questions that hang hold the next, but nobody waits for longer than for a free connection."""
        for place, item in list(self._waiting.items()):
            if now - item.since < lanes.ANSWER_SECONDS:
                self._timer = loop.call_later(item.since + lanes.ANSWER_SECONDS - now, self._begin)
                return
            del self._waiting[place]
            _refuse([item], UnavailableError("no database connection became free"))

    def _ended(self, question: object) -> None:
        if self._under_way.pop(question, None) is not None:
            self._begin()

    async def _ask(self, asked: list[_Asked[K, V]]) -> None:
        keys = list(dict.fromkeys(item.key for item in asked))
        # The wait before counts: with the database away, each fails when its own time is over.
        lanes.asked_at.set(asked[0].since)
        # That those before waited in vain says nothing of these, who came later.
        waited_until.set(-math.inf)
        try:
            found = await self._db.read(lambda c: self._look(c, keys))
        except UnavailableError as error:
            until = asked[0].since + _SLICE
            if isinstance(error, DatabaseError):
                until = math.inf
            _refuse([item for item in asked if item.since <= until], error)
            later = [item for item in asked if item.since > until]
            if later:
                await self._ask(later)
        except Exception as error:
            if len(asked) == 1:
                _refuse(asked, error)
                return
            # One key's fault must not be the others'.
            for item in asked:
                await self._ask([item])
        except BaseException:
            _refuse(asked, UnavailableError("the process ends"))
            raise
        else:
            for item in asked:
                if not item.future.done():
                    item.future.set_result(found.get(item.key))


def _refuse(asked: Sequence[_Asked[Any, Any]], error: Exception) -> None:
    for item in asked:
        if not item.future.done():
            item.future.set_exception(error)


def for_each(query: Select[Any], *names: str) -> Select[Any]:
    """`query`, which gives at most one row, for each of several sets of its parameters; PostgreSQL only.

    `names`: the query's text parameters; the new query's are `all_<name>`, each a list. Its rows are the
    number of the set (from 1) and the row; a set without a row has none.
    """
    lists = [bindparam(f"all_{name}", type_=ARRAY(Text)) for name in names]
    asked = func.unnest(*lists).table_valued(*names, with_ordinality="number", name="asked").render_derived()
    # Without LIMIT a planner whose statistics are old may read whole tables for a join.
    replaced = _with_columns(query.limit(1), {name: asked.c[name] for name in names}).lateral("found")
    return select(asked.c.number, *replaced.c).select_from(asked.join(replaced, true()))


def _with_columns(query: Select[Any], columns: Mapping[str, Any]) -> Select[Any]:
    """`query` with columns in place of its parameters."""

    def column_for(element: Any, **_: Any) -> Any:
        if getattr(element, "__visit_name__", "") == "bindparam":
            return columns.get(element.key)
        return None

    return cast("Select[Any]", visitors.replacement_traverse(query, {}, column_for))


__all__ = ["Gatherer", "for_each"]
