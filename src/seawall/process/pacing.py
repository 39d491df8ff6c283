"""Requests that come at once begin one after the other, so that a flood does not hold up what goes on.

The event loop gives a turn to whatever is ready before it looks at anything new. When a thousand requests
begin in the same moment, each of their steps is a thousand times as long, and health checks time out. So a
few begin in each round of the loop. The others wait for theirs, which costs them nothing: the processor is
busy with those before them.
"""

from __future__ import annotations

import asyncio
from collections import deque

# Requests that begin in one round of the loop; at less than a millisecond each it stays short.
_AT_ONCE = 32


class Pace:
    """Lets requests begin; one event loop at a time."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._at_once = at_once
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self) -> None:
        """Wait until the request may begin."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._begun, self._waiting = loop, 0, deque()
        if self._begun < self._at_once and not self._waiting:
            self._begun += 1
            if self._begun == 1:
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
        while self._waiting and self._begun < self._at_once:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next, loop)


__all__ = ["Pace"]
