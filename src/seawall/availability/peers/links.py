"""How far this instance has followed each peer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.client import Peer
from seawall.infra.db import Database


async def link_to(db: Database, peer: Peer) -> Any:
    """The row of `peer_links` of a peer, None before the first contact."""
    query = select(t.peer_links).where(t.peer_links.c.url == peer.url)
    return await db.read(lambda c: c.execute(query).first())


async def note_link(
    db: Database, peer: Peer, values: dict[str, Any], unless: tuple[Any, dict[str, Any]] | None = None
) -> None:
    """Write down how things stand with a peer; times alone no more often than every two seconds."""
    if unless is not None and unless[0] is not None:
        old, new = unless
        same = (old.cursor, old.epoch, old.name, old.error) == (
            new["cursor"],
            new["epoch"],
            new["name"],
            None,
        )
        if same and old.seen_at is not None and new["seen_at"] - old.seen_at < 2 and old.synced_at:
            return

    def write_link(connection: Connection) -> None:
        here = t.peer_links.c.url == peer.url
        if not connection.execute(update(t.peer_links).where(here).values(**values)).rowcount:
            connection.execute(t.peer_links.insert().values(url=peer.url, **values))

    await db.write(write_link, durable=False)
