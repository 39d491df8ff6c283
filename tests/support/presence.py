"""A client that goes away when a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from seawall.kernel.presence import GoneError, Presence, presence


class Gone(Presence):
    """Goes away when `event` is set."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def while_here(self, waiting: asyncio.Future[Any]) -> Any:
        going = asyncio.ensure_future(self.event.wait())
        await asyncio.wait({waiting, going}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        if not waiting.done():
            waiting.cancel()
            raise GoneError
        return waiting.result()


def for_client(client: Presence, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A request of the client."""
    before = presence.set(client)
    try:
        return asyncio.create_task(work)
    finally:
        presence.reset(before)
