"""Taking what a peer has new."""

from __future__ import annotations

import asyncio
import json
import time

from prometheus_client import Counter
from sqlalchemy import select

from seawall.access.sessions import SessionStore
from seawall.availability.peers import schema as t
from seawall.availability.peers.apply import turn
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.fill import Filler
from seawall.availability.peers.links import link_to, note_link
from seawall.availability.peers.model import Told
from seawall.availability.peers.observer import Observer
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra.db import Database

TAKEN = Counter("seawall_peer_changes_total", "Changes of peers that were applied")
# Changes that one transaction takes: others want to write too.
_AT_ONCE = 40


class Puller:
    """Takes changes of peers into the database."""

    def __init__(
        self,
        db: Database,
        store: Store,
        observer: Observer,
        filler: Filler,
        sessions: SessionStore,
        peers: list[Peer],
        tasks: Tasks,
        name: str,
    ) -> None:
        """`name` is that of this instance."""
        self._db = db
        self._store = store
        self._observer = observer
        self._filler = filler
        self._sessions = sessions
        self._peers = peers
        self._tasks = tasks
        self._name = name

    async def pull_from(self, name: str) -> None:
        """Take what the peer of that name has new; of all, while it is not known which that is."""
        wanted = [peer for peer in self._peers if peer.name == name] or self._peers
        await asyncio.gather(*(self.pull(peer) for peer in wanted if not peer.mine), return_exceptions=True)

    async def pull_all(self) -> None:
        """Take what every peer that can be reached has new."""
        up = [self.pull(peer) for peer in self._peers if peer.up]
        if up:
            await asyncio.gather(*up, return_exceptions=True)

    async def pull(self, peer: Peer) -> None:
        """Take what a peer has new as of now. Calls at the same time share one. Raises PeerError."""
        if peer.waiting is None:
            peer.waiting = self._tasks.start(self._pull_next(peer))
        await asyncio.shield(peer.waiting)

    async def _pull_next(self, peer: Peer) -> None:
        async with peer.running:
            peer.waiting = None
            try:
                await self._pull(peer)
                peer.error = None
            except PeerError as error:
                if not peer.mine:
                    await note_link(self._db, peer, {"error": str(error)[:500]})
                raise

    async def _pull(self, peer: Peer) -> None:
        await self._observer.prepare()
        link = await link_to(self._db, peer)
        cursor = link.cursor if link is not None else 0
        epoch = link.epoch if link is not None else ""
        taken = 0
        while True:
            answer = await peer.call("entries", after=cursor)
            peer.name = answer["name"]
            if peer.name == self._name:
                state = await self._db.read(lambda c: c.execute(select(t.peer_state.c.epoch)).scalar())
                if state == answer["epoch"]:
                    peer.mine = True
                    return
                raise PeerError(f"{peer.url} has the same peers.name as this instance: give each its own")
            if answer["epoch"] != epoch or cursor > answer["seq"]:
                # A new database, or one from a backup: from the beginning.
                epoch = answer["epoch"]
                if cursor:
                    cursor = 0
                    continue
            if 0 < cursor < answer["purged"]:
                raise PeerError(
                    f"{peer.url} has forgotten deletions that this instance has not received: this "
                    "instance was away for longer than peers.tombstone_days; empty its database and start it "
                    "again"
                )
            told = sorted((Told.of(item) for item in answer["entries"]), key=turn)
            for start in range(0, len(told), _AT_ONCE):
                part = told[start : start + _AT_ONCE]
                taken += await self._db.write(
                    lambda c, part=part: self._store.applier.take(c, part, peer.url)  # type: ignore[misc]
                )
            for item in told:
                if item.entry.kind == "session" and item.entry.deleted:
                    await self._sessions.forget(json.loads(item.entry.key)[0])
            cursor = answer["next"]
            now = time.time()
            values = {"name": peer.name, "epoch": epoch, "cursor": cursor, "seen_at": now, "error": None}
            if not answer["left"]:
                values["synced_at"] = now
            await note_link(self._db, peer, values, unless=(link, values))
            if not answer["left"]:
                break
        open_ = select(t.peer_pending.c.key).where(t.peer_pending.c.url == peer.url).limit(1)
        if await self._db.read(lambda c: c.execute(open_).first()) is not None:
            await self._db.write(lambda c: self._store.applier.decide(c, peer.url))
        TAKEN.inc(taken)
        await self._filler.retry_pulled()
