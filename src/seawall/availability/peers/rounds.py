"""Rounds: each instance asks each peer again and again what is new.

This is what makes peers equal in the end; `settle` only makes it fast, and may be cut off at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection, or_, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.fill import Filler, pending_count
from seawall.availability.peers.links import link_to
from seawall.availability.peers.model import BATCH
from seawall.availability.peers.observer import Observer
from seawall.availability.peers.pull import Puller
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra import leases
from seawall.infra.db import Database, changes
from seawall.infra.settings import PeerSettings
from seawall.infra.storage.base import UploadBusyError

log: Any = structlog.get_logger("seawall.peers")

REACHABLE = Gauge("seawall_peer_reachable", "Whether a peer answers", ["peer"], multiprocess_mode="max")
LAG = Gauge(
    "seawall_peer_lag_seconds", "How far this instance is behind a peer", ["peer"], multiprocess_mode="max"
)
PENDING = Gauge(
    "seawall_peer_pending",
    "Changes and content that peers have and this instance lacks",
    multiprocess_mode="max",
)

_LOG_DAYS = 7
_PULLS_SECONDS = 60.0


class Rounds:
    """Asks every peer what is new."""

    def __init__(
        self,
        db: Database,
        store: Store,
        observer: Observer,
        puller: Puller,
        filler: Filler,
        peers: list[Peer],
        tasks: Tasks,
        settings: PeerSettings,
    ) -> None:
        self._db = db
        self._store = store
        self._observer = observer
        self._puller = puller
        self._filler = filler
        self._peers = peers
        self._tasks = tasks
        self._settings = settings

    async def run(self) -> None:
        """Rounds with every peer, in one process of this instance, until cancelled."""
        while True:
            try:
                lease = await leases.acquire(self._db, "peers")
            except UploadBusyError:
                await asyncio.sleep(4)
                continue
            try:
                await self._rounds()
            finally:
                await lease.release()

    async def _rounds(self) -> None:
        await self._observer.prepare()
        filler = self._tasks.start(self._filler.run())
        compared = pulled = 0.0
        try:
            while True:
                now = time.monotonic()
                if now - compared > self._settings.compare_minutes * 60:
                    await self._observer.compare()
                    await self._db.write(
                        lambda c: self._store.entries.purge(c, self._settings.tombstone_days)
                    )
                    await self._db.write(lambda c: changes.forget(c, _LOG_DAYS * 86400))
                    await self._filler.retry_everything()
                    compared = now
                await self.round()
                if now - pulled > _PULLS_SECONDS:
                    await self._exchange_pull_times()
                    pulled = now
                if filler.done():
                    filler.result()
                await asyncio.sleep(self._settings.interval_seconds)
        finally:
            filler.cancel()

    async def round(self) -> None:
        """Notice what changed here, and take what is new from every peer."""
        await self._observer.observe()
        await asyncio.gather(
            *(self._pull_quietly(peer) for peer in self._peers if not peer.mine), return_exceptions=True
        )
        waiting = await self._db.read(pending_count)
        PENDING.set(waiting)
        if waiting:
            self._filler.wake()

    async def once(self) -> None:
        """A round of a process that does nothing else (a command), with the content that it tells of."""
        await self._observer.prepare()
        await self._observer.compare()
        await self.round()
        await self._filler.bring_all()

    def start_round(self) -> None:
        """A round now, in the background."""

        async def compare_and_pull() -> None:
            await self._observer.compare()
            await self.round()

        self._tasks.start(compare_and_pull())

    async def _pull_quietly(self, peer: Peer) -> None:
        label = peer.url
        try:
            await self._puller.pull(peer)
            REACHABLE.labels(label).set(1)
            LAG.labels(label).set(0)
        except PeerError as error:
            REACHABLE.labels(label).set(0)
            link = await link_to(self._db, peer)
            if link is not None and link.synced_at is not None:
                LAG.labels(label).set(time.time() - link.synced_at)
            log.warning("a peer is away", peer=peer.name or label, error=str(error))

    async def _exchange_pull_times(self) -> None:
        """Take over when peers' content was last pulled, so that retention keeps what is used anywhere."""
        for peer in self._peers:
            if not peer.up:
                continue
            with contextlib.suppress(PeerError):
                after = time.time() - 2 * _PULLS_SECONDS - 60
                answer = await peer.call("pulls", after=after)
                rows = answer["pulls"]
                for start in range(0, len(rows), BATCH):
                    part = rows[start : start + BATCH]
                    await self._db.write(lambda c, part=part: _set_pulled(c, part), durable=False)  # type: ignore[misc]


def _set_pulled(connection: Connection, rows: list[list[Any]]) -> None:
    for repository, name, at in rows:
        table = t.manifests if ":" in name else t.tags
        column = t.manifests.c.digest if ":" in name else t.tags.c.name
        inside = select(t.repositories.c.id).where(t.repositories.c.name == repository).scalar_subquery()
        connection.execute(
            update(table)
            .where(
                table.c.repository_id == inside,
                column == name,
                or_(table.c.pulled_at.is_(None), table.c.pulled_at < at),
            )
            .values(pulled_at=at)
        )
