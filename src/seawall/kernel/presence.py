"""Whether the client of the current request is still there, for what waits long before it does anything.

A client that gives up closes its connection, and often asks again. Who waits in a line for it must then leave
the line at once: otherwise clients that try again fill the line with requests that nobody wants.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TypeVar

from seawall.kernel.errors import RegistryError

T = TypeVar("T")


class GoneError(RegistryError):
    """The client went away while its request waited. Nobody gets the answer; 499 is for logs and metrics."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", "the client is gone", status=499)


class Presence:
    """A caller that does not go away, such as a job."""

    async def while_here(self, waiting: asyncio.Future[T]) -> T:
        """What `waiting` gives. Raises GoneError, with `waiting` cancelled, once the caller is gone."""
        return await waiting


_ALWAYS = Presence()
# The transport sets it for each request.
presence: ContextVar[Presence] = ContextVar("presence", default=_ALWAYS)


async def while_here(waiting: asyncio.Future[T]) -> T:
    """See Presence.while_here, for the caller of the current task."""
    return await presence.get().while_here(waiting)


@contextlib.asynccontextmanager
async def holding(lock: asyncio.Lock | asyncio.Semaphore) -> AsyncIterator[None]:
    """Hold a lock, got in the order in which it was asked for. Raises GoneError as `while_here`."""
    getting = asyncio.ensure_future(lock.acquire())
    try:
        await while_here(getting)
    except BaseException:
        # It may have come in the same moment.
        if getting.done() and not getting.cancelled() and getting.exception() is None:
            lock.release()
        raise
    try:
        yield
    finally:
        lock.release()


__all__ = ["GoneError", "Presence", "holding", "presence", "while_here"]
