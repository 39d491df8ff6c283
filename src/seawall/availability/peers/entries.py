"""The recorded states of entities in this instance's database, and this instance's own row.

Everything here is a function of a Connection and runs in one transaction.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from sqlalchemy import Connection, and_, delete, func, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.kinds import KINDS, TABLES, new_names
from seawall.availability.peers.model import BATCH, Context, State, Told
from seawall.availability.peers.rows import insert_once, put_row
from seawall.availability.peers.versions import Clock, Entry
from seawall.infra.db import changes


class Entries:
    """Reads and writes the states of entities."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self.name = name

    def prepare(self, connection: Connection) -> None:
        """Make the row of this instance, and have changes logged."""
        entries = t.peer_entries.c
        # Those of a backup that was restored: their numbers and times are not given again.
        last, latest = connection.execute(select(func.max(entries.seq), func.max(entries.version))).one()
        clock = Clock()
        if latest is not None:
            clock.see(latest)
        row = {
            "id": 1,
            "name": self.name,
            "epoch": uuid.uuid4().hex,
            "seq": last or 0,
            "clock_ms": clock.milliseconds,
            "clock_counter": clock.counter,
        }
        insert_once(connection, t.peer_state, row, ["id"])
        connection.execute(
            update(t.peer_state).where(t.peer_state.c.name != self.name).values(name=self.name)
        )
        # Processes that start together do the rest one after the other.
        self.lock(connection)
        changes.ensure(connection, [t.metadata.tables[name] for name in TABLES])

    def lock(self, connection: Connection) -> State:
        """This instance's row, locked until commit."""
        row = connection.execute(select(t.peer_state).with_for_update()).one()
        return State(
            row.epoch, row.seq, Clock(row.clock_ms, row.clock_counter), row.feed_cursor, row.purged_seq
        )

    def save(self, connection: Connection, state: State) -> None:
        """Write back what `lock` gave."""
        connection.execute(
            update(t.peer_state).values(
                seq=state.seq,
                clock_ms=state.clock.milliseconds,
                clock_counter=state.clock.counter,
                feed_cursor=state.feed_cursor,
                purged_seq=state.purged_seq,
            )
        )

    def entry(self, connection: Connection, kind: str, key: str) -> Entry | None:
        """The recorded state of an entity."""
        table = t.peer_entries
        row = connection.execute(select(table).where(table.c.kind == kind, table.c.key == key)).first()
        return None if row is None else as_entry(row)

    def record(self, connection: Connection, state: State, entry: Entry, row_key: str | None) -> None:
        """Write the state of an entity, as something to tell."""
        state.seq += 1
        values = {
            "version": entry.version,
            "vector": entry.vector,
            "digest": entry.digest,
            "deleted": entry.deleted,
            "cascade": entry.cascade,
            "seq": state.seq,
            "at": time.time(),
        }
        if row_key is not None:
            values["row_key"] = row_key
        put_row(connection, t.peer_entries, {"kind": entry.kind, "key": entry.key}, values)

    def set_vector(self, connection: Connection, entry: Entry) -> None:
        """Write what an entity is known to include."""
        table = t.peer_entries
        connection.execute(
            update(table)
            .where(table.c.kind == entry.kind, table.c.key == entry.key)
            .values(vector=entry.vector)
        )

    def told(self, connection: Connection, after: int, limit: int = BATCH) -> dict[str, Any]:
        """What changed after a number: `entries`, the number to go on from, and how many are left."""
        state = connection.execute(select(t.peer_state)).one()
        table = t.peer_entries
        rows = connection.execute(
            select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        ).all()
        names = new_names()
        entries = []
        for row in rows:
            entry = as_entry(row)
            document = None
            if not entry.deleted:
                kind = KINDS.get(entry.kind)
                item = kind and kind.find(connection, json.loads(entry.key), names)
                if kind is None or item is None:
                    # It went in the meantime, which will be sent under a number of its own.
                    continue
                document = kind.document(connection, self._context, item, names)
            entries.append(Told(entry, document).as_dict())
        last = rows[-1].seq if rows else max(after, 0)
        left = connection.execute(select(func.count()).where(table.c.seq > last)).scalar_one()
        return {
            "name": self.name,
            "epoch": state.epoch,
            "seq": state.seq,
            "purged": state.purged_seq,
            "entries": entries,
            "next": last,
            "left": left,
        }

    def purge(self, connection: Connection, days: float) -> int:
        """Forget deletions that are older than `days`."""
        state = self.lock(connection)
        table = t.peer_entries
        where = and_(table.c.deleted, table.c.at < time.time() - days * 86400)
        last = connection.execute(select(func.max(table.c.seq)).where(where)).scalar()
        if last is None:
            return 0
        state.purged_seq = max(state.purged_seq, last)
        self.save(connection, state)
        return connection.execute(delete(table).where(where)).rowcount


def as_entry(row: Any) -> Entry:
    """From a row of `peer_entries`."""
    return Entry(row.kind, row.key, row.version, dict(row.vector), row.digest, row.deleted, row.cascade)
