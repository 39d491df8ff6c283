"""Which of the peers (own-storage HA) does what only one of them is to do."""

from __future__ import annotations

import time

from sqlalchemy import Connection, select

from seawall.availability.peers.tables import peer_links, peer_state

# A peer that answered within this time, and was not found away since, is there.
PEER_SECONDS = 90.0


def leads_elsewhere(connection: Connection) -> bool:
    """Whether a peer with a smaller name is there: it runs what one of them is to run."""
    query = (
        select(peer_links.c.url)
        .join(peer_state, peer_state.c.name > peer_links.c.name)
        .where(
            peer_links.c.name != "",
            peer_links.c.error.is_(None),
            peer_links.c.seen_at > time.time() - PEER_SECONDS,
        )
    )
    return connection.execute(query.limit(1)).first() is not None
