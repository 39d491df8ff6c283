"""How this instance stands to its peers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from seawall.availability.peers import documents
from seawall.availability.peers import schema as t
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.kinds import KINDS
from seawall.availability.peers.links import link_to
from seawall.availability.peers.observer import Observer
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing

_NOT_COMPARED = frozenset({"session", "session-use"})


@dataclass(slots=True)
class Status:
    """How this instance stands to a peer.

    `behind`: changes of its that are not here. `clock`: its clock minus the one here, in seconds.
    """

    name: str
    url: str
    reachable: bool
    last_sync_at: float | None
    lag_seconds: float | None
    behind: int
    differences: list[dict[str, Any]]
    conflicts: int
    error: str | None
    clock: float | None = None


class Statuses:
    """Compares this instance with its peers."""

    def __init__(
        self, db: Database, store: Store, observer: Observer, peers: list[Peer], tasks: Tasks
    ) -> None:
        self._db = db
        self._store = store
        self._observer = observer
        self._peers = peers
        self._tasks = tasks
        self._asking: dict[str, asyncio.Task[Status | None]] = {}

    async def summary(self) -> dict[str, Any]:
        """What is here, in short: a number and a digest of each kind."""

        def summarize(connection: Connection) -> dict[str, Any]:
            kinds: dict[str, Any] = {}
            for kind, count, digest in _digests(connection):
                kinds[kind] = [count, digest]
            state = connection.execute(select(t.peer_state)).one()
            return {
                "name": state.name,
                "epoch": state.epoch,
                "seq": state.seq,
                "time": time.time(),
                "kinds": kinds,
            }

        return await self._db.read(summarize)

    async def digests(self, kind: str) -> dict[str, str]:
        """Digest of each entity of a kind that is here."""
        table = t.peer_entries.c
        query = select(table.key, table.digest).where(table.kind == kind, table.deleted.is_(False))
        rows = await self._db.read(lambda c: c.execute(query).all())
        return {row.key: row.digest for row in rows}

    async def all(self, limit: int = 100, within: float | None = None) -> list[Status]:
        """How this instance stands to each peer, as asked now.

        `within`: seconds after which a peer that has not answered is shown by what is known here; its answer
        is still waited for, and the next call has it. None waits as long as a peer may take.
        """
        found: list[Status] = await self._tasks.start(self._statuses(limit, within))
        return found

    async def _statuses(self, limit: int, within: float | None) -> list[Status]:
        await self._observer.prepare()
        with contextlib.suppress(PeerError):
            await self._observer.observe()
        mine = await self.summary()
        found = await asyncio.gather(*(self._asked(peer, mine, limit, within) for peer in self._peers))
        return [item for item in found if item is not None]

    async def _asked(
        self, peer: Peer, mine: dict[str, Any], limit: int, within: float | None
    ) -> Status | None:
        if within is None:
            return await self._status(peer, mine, limit)
        # One question to a peer at a time: one that hangs must not collect a question of every reader.
        running = self._asking.get(peer.url)
        if running is None or running.done():
            running = self._asking[peer.url] = asyncio.ensure_future(self._status(peer, mine, limit))
        done, _pending = await asyncio.wait({running}, timeout=within)
        if done:
            return running.result()
        status = await self._known(peer)
        status.error = f"no answer within {within:g} s" + (
            f"; before that: {status.error}" if status.error else ""
        )
        return status

    async def away(self) -> list[str]:
        """Addresses of the peers that did not answer this instance when it last asked."""
        links = t.peer_links.c
        mine = [peer.url for peer in self._peers if not peer.mine]
        query = select(links.url).where(links.error.is_not(None), links.url.in_(mine)).order_by(links.url)
        return list(await self._db.read(lambda c: c.execute(query).scalars().all()))

    async def _known(self, peer: Peer) -> Status:
        """What is known here of a peer, without asking it."""
        link = await link_to(self._db, peer)
        conflicts = t.peer_conflicts.c
        open_ones = select(func.count(conflicts.id)).where(conflicts.acknowledged_at.is_(None))
        total = await self._db.read(lambda c: c.execute(open_ones).scalar_one())
        waiting = await self._db.read(
            lambda c: c.execute(
                select(func.count()).select_from(t.peer_pending).where(t.peer_pending.c.url == peer.url)
            ).scalar_one()
        )
        synced = link.synced_at if link is not None else None
        return Status(
            peer.name or (link.name if link is not None else ""),
            peer.url,
            False,
            synced,
            None if synced is None else time.time() - synced,
            waiting,
            [],
            total,
            link.error if link is not None else None,
        )

    async def _status(self, peer: Peer, mine: dict[str, Any], limit: int) -> Status | None:
        status = await self._known(peer)
        link = await link_to(self._db, peer)
        try:
            asked = time.time()
            theirs = await peer.call("summary")
            status.clock = theirs["time"] - (asked + time.time()) / 2
            if theirs["epoch"] == mine["epoch"]:
                return None
            peer.name = status.name = theirs["name"]
            status.reachable = True
            cursor = link.cursor if link is not None and link.epoch == theirs["epoch"] else 0
            if theirs["seq"] > cursor:
                answer = await peer.call("entries", after=cursor)
                status.behind += len(answer["entries"]) + answer["left"]
            status.error = link.error if link is not None and link.error else None
            for kind in KINDS:
                if kind in _NOT_COMPARED or mine["kinds"].get(kind) == theirs["kinds"].get(kind):
                    continue
                here = await self.digests(kind)
                there = (await peer.call("digests", kind=kind))["digests"]
                for key in sorted(here.keys() | there.keys()):
                    if here.get(key) == there.get(key):
                        continue
                    if len(status.differences) < limit:
                        status.differences.append(await self._difference(kind, key, here, there))
            if not status.behind and not status.differences:
                status.lag_seconds = 0.0
        except PeerError as error:
            status.error = str(error)
        return status

    async def _difference(
        self, kind: str, key: str, here: dict[str, str], there: dict[str, str]
    ) -> dict[str, Any]:
        table = t.peer_pending.c
        query = select(table.reason).where(table.kind == kind, table.key == key)
        reason = await self._db.read(lambda c: c.execute(query).scalar())
        return {
            "kind": kind,
            "key": documents.show(json.loads(key)),
            "here": here.get(key, "")[:12] or (f"not here: {reason}" if reason else "not here"),
            "there": there.get(key, "")[:12] or "not there",
        }

    async def conflicts(self, limit: int = 500) -> list[dict[str, Any]]:
        """What lost by the conflict rule, newest first; documents without what is secret."""
        return await self._db.read(lambda c: self._store.conflicts.newest(c, limit))

    async def acknowledge(self, number: int, name: str, *, also: Also = nothing) -> bool:
        """Note that `name` has seen the conflict; False when there is none of that number."""
        table = t.peer_conflicts
        note = (
            update(table)
            .where(table.c.id == number, table.c.acknowledged_at.is_(None))
            .values(acknowledged_at=time.time(), acknowledged_by=name[:255])
        )
        known = select(table.c.id).where(table.c.id == number)

        def acknowledge_conflict(connection: Connection) -> bool:
            connection.execute(note)
            return connection.execute(known).first() is not None

        return await self._db.write(acknowledge_conflict, also=also)


def _digests(connection: Connection) -> Iterable[tuple[str, int, str]]:
    table = t.peer_entries.c
    query = select(table.kind, table.key, table.digest).where(table.deleted.is_(False))
    sums: dict[str, tuple[int, int]] = {}
    for kind, key, digest in connection.execute(query):
        value = int.from_bytes(hashlib.blake2b(f"{key}\0{digest}".encode(), digest_size=16).digest())
        count, total = sums.get(kind, (0, 0))
        sums[kind] = (count + 1, total ^ value)
    return [(kind, count, f"{total:032x}") for kind, (count, total) in sorted(sums.items())]
