"""Which requests of peers were answered already, whichever process of this instance did it."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete

from seawall.availability.peers import schema as t
from seawall.availability.peers.wire import NONCE_SECONDS
from seawall.infra.db import Database
from seawall.infra.db.dialect import added


async def is_new(db: Database, nonce: str) -> bool:
    """Whether a nonce is seen for the first time; remembered for as long as its request is good."""
    now = time.time()

    def remember(connection: Connection) -> bool:
        connection.execute(delete(t.peer_nonces).where(t.peer_nonces.c.at < now - NONCE_SECONDS))
        row = {"nonce": nonce[:64], "at": now}
        return added(connection, t.peer_nonces, row, "nonce")

    return await db.write(remember, durable=False)
