"""Giving versions to what changes here, as the change feed and comparisons show it."""

from __future__ import annotations

import asyncio

from sqlalchemy import select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.kinds import KINDS
from seawall.availability.peers.model import BATCH
from seawall.availability.peers.store import Store
from seawall.infra.db import Database, changes


class Observer:
    """Notices what changed in this instance's database."""

    def __init__(self, db: Database, store: Store) -> None:
        self._db = db
        self._store = store
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def prepare(self) -> None:
        """Have this instance's row, and everything that is here recorded."""
        async with self._preparing:
            if self._prepared:
                return
            await self._db.write(self._store.entries.prepare)
            cursor = await self._db.read(lambda c: c.execute(select(t.peer_state.c.feed_cursor)).scalar())
            if cursor is None:
                await self.compare(first=True)
            self._prepared = True

    async def compare(self, *, first: bool = False) -> int:
        """Compare everything with what is recorded; returns how many entities got a version.

        `first`: what is not recorded yet is as old as its row says, not new.
        """
        cursor = await self._db.read(changes.position)
        count = 0
        for kind in KINDS.values():
            found = sorted(await self._db.read(lambda c, kind=kind: self._store.local.differing(c, kind)))  # type: ignore[misc]
            for start in range(0, len(found), BATCH):
                part = found[start : start + BATCH]
                count += await self._db.write(
                    lambda c, part=part: self._store.local.check(c, part, first=first)  # type: ignore[misc]
                )
        await self._db.write(
            lambda c: c.execute(
                update(t.peer_state).where(t.peer_state.c.feed_cursor.is_(None)).values(feed_cursor=cursor)
            )
        )
        return count

    async def observe(self) -> None:
        """Give versions to what changed here."""
        await self.prepare()
        if not await self._db.read(self._store.local.pending_changes):
            return
        if await self._db.write(self._store.local.observe) is None:
            await self._db.write(lambda c: c.execute(update(t.peer_state).values(feed_cursor=None)))
            await self.compare()
