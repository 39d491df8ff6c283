"""Turns of pushes: a server process works on some at a time, and the projects take turns.

Thousands of clients may push at once. If all of their requests were worked on together, each would wait for
all others, and one project's clients would leave no time for those of another. So the requests of pushes wait
in lines, one for each project, and the next free place goes to the next project. A wait has an end, and so
have the lines: past `waiting` requests, or `seconds`, clients get 429 with the time after which to try again.
When the lines are full, the last request of the longest line is refused, also when another one came last.

A request that waits for its client's bytes works on nothing. When others wait, it lends its place after
`_PATIENCE` seconds of silence; so does one that has had its place for `_QUANTUM` seconds and has more to
receive. When its project's turn comes, those that go on and those that are new alternate. Otherwise a few
slow uploads would hand the places to each other until they end, and the project's others would get 429.

A request whose client goes away leaves its line at once. Otherwise clients that give up and try again would
fill the lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from seawall.infra.telemetry import Counter
from seawall.kernel.errors import RegistryError
from seawall.kernel.presence import GoneError, while_here

T = TypeVar("T")

# Seconds, all of them. How long a client may keep a place without sending, and at all while others wait.
_PATIENCE = 0.25
_QUANTUM = 1.0
# How often it is looked at who has waited, or kept a place, for too long.
_LOOK = 0.1

_REFUSALS = Counter(
    "seawall_push_refusals_total",
    "Requests of pushes that got 429, because too many waited or they waited too long",
    ["why"],
    known=[("full",), ("late",)],
)


class Place:
    """A request's place. `held`: whether it has one just now."""

    __slots__ = ("_turns", "held", "project", "silent_since", "since")

    def __init__(self, turns: Turns, project: str) -> None:
        self._turns = turns
        self.project = project
        self.held = False
        # Monotonic: since when the place is held, and since when its client is waited for (0: it is not).
        self.since = 0.0
        self.silent_since = 0.0

    async def receiving(self, receive: Callable[[], Awaitable[T]]) -> T:
        """What `receive` gives, which waits for the client."""
        self.silent_since = time.monotonic()
        try:
            found = await receive()
        finally:
            self.silent_since = 0.0
        await self._turns.go_on(self)
        return found


class _Waiter:
    """A request in a line. `returning`: it has lent its place, so it is never refused."""

    __slots__ = ("future", "place", "returning", "since")

    def __init__(self, place: Place, future: asyncio.Future[None], *, returning: bool) -> None:
        self.place = place
        self.future = future
        self.returning = returning
        self.since = time.monotonic()


class _Line:
    """Those of one project that wait. Those that return and new ones alternate, each in their order."""

    __slots__ = ("new", "return_next", "returning")

    def __init__(self) -> None:
        self.returning: deque[_Waiter] = deque()
        self.new: deque[_Waiter] = deque()
        self.return_next = True

    def __len__(self) -> int:
        return len(self.returning) + len(self.new)

    def of(self, waiter: _Waiter) -> deque[_Waiter]:
        """The part that the waiter belongs to."""
        return self.returning if waiter.returning else self.new

    def pop(self) -> _Waiter:
        """Take out who is next; there is somebody."""
        returns = bool(self.returning) and (self.return_next or not self.new)
        self.return_next = not returns
        return (self.returning if returns else self.new).popleft()


class Turns:
    """The places of a process and the lines before them; one event loop at a time."""

    def __init__(self, *, places: int, waiting: int, seconds: float) -> None:
        """`places`: requests that are worked on at a time; `waiting` for `seconds`: bounds of the lines."""
        self._places = places
        self._most_waiting = waiting
        self._seconds = seconds
        self._reset(None)

    def _reset(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._held: set[Place] = set()
        # The project whose turn it is comes first. Who has no place any more is not in a line either.
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def turn(self, project: str) -> AsyncIterator[Place]:
        """A place for a request to the project. Raises RegistryError TOOMANYREQUESTS (with Retry-After)."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._reset(loop)
        place = Place(self, project)
        try:
            await self._enter(place, returning=False)
            yield place
        finally:
            self._leave(place)

    async def go_on(self, place: Place) -> None:
        """After receiving: wait for the place that was lent, or lend it where others wait for long."""
        if place.held and (not self._waiting or time.monotonic() - place.since < _QUANTUM):
            return
        self._leave(place)
        await self._enter(place, returning=True)

    async def _enter(self, place: Place, *, returning: bool) -> None:
        if not self._waiting and len(self._held) < self._places:
            self._take(place)
            return
        if not returning and self._waiting >= self._most_waiting:
            self._make_room(place.project)
        assert self._loop is not None
        waiter = _Waiter(place, self._loop.create_future(), returning=returning)
        line = self._lines.setdefault(place.project, _Line())
        line.of(waiter).append(waiter)
        self._waiting += 1
        self._next()
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK, self._look)
        try:
            await while_here(waiter.future)
        except (asyncio.CancelledError, GoneError):
            self._remove(waiter)
            raise

    def _take(self, place: Place) -> None:
        place.held = True
        place.since = time.monotonic()
        self._held.add(place)

    def _leave(self, place: Place) -> None:
        if place.held:
            place.held = False
            self._held.discard(place)
            self._next()

    def _next(self) -> None:
        """Give the places that are free to those whose turn it is."""
        while self._lines and len(self._held) < self._places:
            project, line = next(iter(self._lines.items()))
            waiter = line.pop()
            self._waiting -= 1
            if line:
                self._lines.move_to_end(project)
            else:
                del self._lines[project]
            if not waiter.future.done():
                self._take(waiter.place)
                waiter.future.set_result(None)

    def _remove(self, waiter: _Waiter) -> None:
        """Take a waiter out of its line, where it is in it."""
        line = self._lines.get(waiter.place.project)
        if line is None:
            return
        with contextlib.suppress(ValueError):
            line.of(waiter).remove(waiter)
            self._waiting -= 1
            if not line:
                del self._lines[waiter.place.project]

    # -- bounds --------------------------------------------------------------------------------------

    def _make_room(self, project: str) -> None:
        """Refuse the last of the longest line. Raises the refusal where that is the request itself."""
        longest = max(self._lines.values(), key=len, default=None)
        mine = self._lines.get(project, ())
        if longest is None or len(longest) <= len(mine) + 1 or not longest.new:
            raise self._refusal("full")
        self._refuse(longest.new[-1], "full")

    def _refuse(self, waiter: _Waiter, why: str) -> None:
        self._remove(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(self._refusal(why))

    def _refusal(self, why: str) -> RegistryError:
        _REFUSALS.inc(why)
        now = time.monotonic()
        # As long as the one that waits the longest has waited: a new one would wait no shorter.
        waited = max((now - line.new[0].since for line in self._lines.values() if line.new), default=0.0)
        after = min(max(1, math.ceil(waited)), max(1, math.ceil(self._seconds)))
        return RegistryError(
            "TOOMANYREQUESTS",
            "too many pushes are waiting; try again later",
            headers={"Retry-After": str(after)},
        )

    def _look(self) -> None:
        """End what waits for too long, and lend the places of those whose clients are silent."""
        self._timer = None
        if not self._waiting:
            return
        assert self._loop is not None
        now = time.monotonic()
        for line in list(self._lines.values()):
            while line.new and now - line.new[0].since > self._seconds:
                self._refuse(line.new[0], "late")
        for place in [item for item in self._held if item.silent_since]:
            if now - place.silent_since > _PATIENCE:
                self._leave(place)
        if self._waiting:
            self._timer = self._loop.call_later(_LOOK, self._look)


__all__ = ["Place", "Turns"]
