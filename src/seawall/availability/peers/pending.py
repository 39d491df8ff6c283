"""What peers sent and cannot be applied yet."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import Connection, and_, delete, select

from seawall.availability.peers import schema as t
from seawall.availability.peers.model import PURPOSE, Context, Told
from seawall.availability.peers.rows import put_row
from seawall.availability.peers.versions import Entry


class Pending:
    """Keeps entities that wait: for their content, or for what they refer to."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def told(self, row: Any) -> Told:
        """What a peer sent, from a row of `peer_pending`."""
        return Told(Entry(**row.entry), json.loads(self._context.keys.decrypt(PURPOSE, row.document)))

    def find(self, connection: Connection, kind: str, key: str) -> Told | None:
        """What a peer sent about an entity and could not be applied yet."""
        table = t.peer_pending
        row = connection.execute(select(table).where(table.c.kind == kind, table.c.key == key)).first()
        return None if row is None else self.told(row)

    def wait(self, connection: Connection, told: Told, url: str, reason: str) -> None:
        """Keep what cannot be applied yet; of two states of an entity the later one."""
        waiting = self.find(connection, told.entry.kind, told.entry.key)
        if waiting is not None and waiting.entry.version > told.entry.version:
            told = waiting
        entry = told.as_dict()
        document = json.dumps(entry.pop("document")).encode()
        put_row(
            connection,
            t.peer_pending,
            {"kind": told.entry.kind, "key": told.entry.key},
            {
                "entry": entry,
                "document": self._context.keys.encrypt(PURPOSE, document),
                "reason": reason,
                **({"url": url} if url or waiting is None else {}),
            },
            {"since": time.time()},
        )

    def settle(self, connection: Connection, entry: Entry) -> None:
        """What was pending of an entity is settled, up to this version."""
        table = t.peer_pending
        where = and_(table.c.kind == entry.kind, table.c.key == entry.key)
        row = connection.execute(select(table.c.entry).where(where)).first()
        if row is not None and row.entry["version"] <= entry.version:
            connection.execute(delete(table).where(where))
