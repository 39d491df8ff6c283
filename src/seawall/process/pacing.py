"""Requests that come at once begin one after the other, so that a flood does not hold up what goes on.

The event loop gives a turn to whatever is ready before it looks at anything new. When a thousand requests
begin in the same moment, each of their steps is a thousand times as long, and health checks time out. So a
few begin in each round of the loop, and where each takes long, or the processor does other work, fewer. The
others wait for theirs, which costs them nothing: the processor is busy with those before them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

# Requests that begin in one round of the loop: as many as let a round take so many seconds, and at most 32.
# Health checks pass through several rounds, and balancers wait three seconds for them.
_AT_ONCE = 32
_ROUND = 0.01


class Pace:
    """Lets requests begin; one event loop at a time."""

    def __init__(self, at_once: int = _AT_ONCE, seconds: float = _ROUND) -> None:
        """At most `at_once` begin in a round of the loop, fewer while a round takes more than `seconds`."""
        self._at_once = at_once
        self._seconds = seconds
        # How many may begin in this round, and when it began (monotonic).
        self._most = at_once
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self) -> None:
        """Wait until the request may begin."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._begun, self._waiting = loop, 0, deque()
        if self._begun < self._most and not self._waiting:
            self._begun += 1
            # Not at the first: a loop that has little to do would go round once more for each request. Those
            # of several such rounds are counted as if they were of one.
            if self._begun == (self._most + 1) // 2:
                self._since = time.monotonic()
                loop.call_soon(self._next, loop)
            return
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        await future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """A round has passed: let the next ones begin."""
        if loop is not self._loop:
            return
        self._begun = 0
        now = time.monotonic()
        slow = now - self._since > self._seconds
        self._most = max(1, self._most // 2) if slow else min(self._at_once, 2 * self._most)
        self._since = now
        while self._waiting and self._begun < self._most:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next, loop)


__all__ = ["Pace"]
