"""Work of this process that goes on after the request that began it."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any


class Tasks:
    """Tasks that end with the process at the latest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine in a context of its own: the actor of a request is not for it."""
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
