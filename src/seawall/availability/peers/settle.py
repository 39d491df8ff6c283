"""Having peers take what changed here before a client has its answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import structlog
from starlette.types import Message, Send

from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.observer import Observer
from seawall.availability.peers.tasks import Tasks
from seawall.infra.settings import PeerSettings

log: Any = structlog.get_logger("seawall.peers")


class Settler:
    """Tells the peers that can be reached that there is something new."""

    def __init__(self, observer: Observer, peers: list[Peer], tasks: Tasks, settings: PeerSettings) -> None:
        self._observer = observer
        self._peers = peers
        self._tasks = tasks
        self._settings = settings
        self._settling: asyncio.Task[None] | None = None
        self._settle_lock = asyncio.Lock()

    async def settle(self) -> None:
        """Have reachable peers take what changed here, for as long as `settle_seconds`; never fails."""
        if self._settling is None:
            self._settling = self._tasks.start(self._settle())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._settling), self._settings.settle_seconds)

    async def _settle(self) -> None:
        async with self._settle_lock:
            # Who comes from now on may have changed something that is not seen now: another one is for them.
            self._settling = None
            try:
                await self._observer.observe()
                await asyncio.gather(*(self._nudge(peer) for peer in self._peers if not peer.mine))
            except Exception as error:
                log.warning(
                    "peers could not be asked to take a change", error=f"{type(error).__name__}: {error}"
                )

    async def _nudge(self, peer: Peer) -> None:
        if peer.up:
            with contextlib.suppress(PeerError):
                patience = self._settings.settle_seconds or 0.1
                await peer.call("nudge", name=self._settings.name, _timeout=patience)

    async def watch(self) -> None:
        """In every process: look whether peers that were away are there again, until cancelled."""
        while True:
            await asyncio.sleep(1)
            for peer in self._peers:
                if not peer.up and not peer.mine:
                    with contextlib.suppress(PeerError):
                        await peer.call("hello", name=self._settings.name)

    def settling(self, send: Send) -> Send:
        """`send` that notifies peers before it says that a change was made."""

        async def settled(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                await self.settle()
            await send(message)

        return settled
