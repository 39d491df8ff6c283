"""What lost by the conflict rule: recorded once, shown on demand."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from seawall.availability.peers import documents
from seawall.availability.peers import schema as t
from seawall.availability.peers.entries import Entries
from seawall.availability.peers.model import PURPOSE, Context, Document, dump
from seawall.availability.peers.versions import Entry


class Conflicts:
    """Records what lost."""

    def __init__(self, context: Context, entries: Entries) -> None:
        self._context = context
        self._entries = entries

    def record(
        self,
        connection: Connection,
        kept: Entry,
        dropped: Entry | None,
        kept_document: Document | None,
        dropped_document: Document | None,
        note: str = "",
    ) -> None:
        """Record what lost, once."""
        if dropped is None or kept.kind in ("session", "session-use", "conflict"):
            return
        table = t.peer_conflicts
        known = select(table.c.id).where(
            table.c.kind == kept.kind, table.c.key == kept.key, table.c.dropped_version == dropped.version
        )
        if connection.execute(known).first() is not None:
            return
        seal = self._context.keys.encrypt
        connection.execute(
            insert(table).values(
                at=time.time(),
                kind=kept.kind,
                key=kept.key,
                kept_version=kept.version,
                dropped_version=dropped.version,
                note=note,
                kept=seal(PURPOSE, json.dumps(kept_document).encode()),
                dropped=seal(PURPOSE, json.dumps(dropped_document).encode()),
            )
        )

    def one_address(self, connection: Connection, email: str, result: Entry) -> None:
        """Two users with one e-mail address: the first by name keeps it."""
        query = select(t.users.c.id, t.users.c.username).where(t.users.c.email == email)
        rows = sorted(connection.execute(query).all(), key=lambda row: str(row.username))
        for row in rows[1:]:
            kept = {"username": rows[0].username, "email": email}
            dropped = {"username": row.username, "email": email}
            connection.execute(update(t.users).where(t.users.c.id == row.id).values(email=None))
            key = dump([row.username])
            loser = self._entries.entry(connection, "user-profile", key) or replace(result, key=key)
            self.record(connection, replace(result, key=key), loser, kept, dropped, "same e-mail address")

    def newest(self, connection: Connection, limit: int = 500) -> list[dict[str, Any]]:
        """What lost by the conflict rule, newest first; documents without what is secret."""
        query = select(t.peer_conflicts).order_by(t.peer_conflicts.c.id.desc()).limit(limit)

        def document(text: str) -> Any:
            plain = json.loads(self._context.keys.decrypt(PURPOSE, text))
            return documents.shown_document(plain)

        return [
            {
                "id": row.id,
                "at": row.at,
                "kind": row.kind,
                "key": documents.show(json.loads(row.key)),
                "kept": document(row.kept),
                "dropped": document(row.dropped),
                "by": row.kept_version.partition("@")[2],
                "note": row.note,
                "acknowledged_at": row.acknowledged_at,
                "acknowledged_by": row.acknowledged_by,
            }
            for row in connection.execute(query).all()
        ]
