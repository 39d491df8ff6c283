"""Noticing what changed in this instance's database.

What changed is found by comparing documents with what was recorded, for the rows that the change feed names.
So no code that changes something has to remember to tell peers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers import versions
from seawall.availability.peers.documents import Kind, Names
from seawall.availability.peers.entries import Entries
from seawall.availability.peers.kinds import KINDS, ORDER, TABLES, new_names
from seawall.availability.peers.model import Context, State, dump
from seawall.availability.peers.pending import Pending
from seawall.availability.peers.versions import Entry
from seawall.infra.db import changes


class LocalChanges:
    """Gives versions to what changed here."""

    def __init__(self, context: Context, entries: Entries, pending: Pending) -> None:
        self._context = context
        self._entries = entries
        self._pending = pending

    def pending_changes(self, connection: Connection) -> bool:
        """Whether the feed has something that was not looked at; cheap, and takes no lock."""
        cursor = connection.execute(select(t.peer_state.c.feed_cursor)).scalar()
        if cursor is None:
            return True
        found = changes.since(connection, cursor)
        return found is None or bool(found[0])

    def observe(self, connection: Connection) -> int | None:
        """Give versions to what changed here since the last look; None: a full comparison is needed."""
        state = self._entries.lock(connection)
        if state.feed_cursor is None:
            return None
        found = changes.since(connection, state.feed_cursor)
        if found is None:
            return None
        changed, state.feed_cursor = found
        count = 0
        if changed:
            names = new_names()
            count = self.check_locked(connection, state, self._affected(connection, changed, names), names)
        self._entries.save(connection, state)
        return count

    def _affected(
        self, connection: Connection, changed: Iterable[changes.Change], names: Names
    ) -> set[tuple[str, str]]:
        """Entities that these rows were or are."""
        found: set[tuple[str, str]] = set()
        for change in changed:
            row_key = dict(change.key)
            for kind in TABLES.get(change.table, ()):
                if kind.name == "notary":
                    table = t.metadata.tables[change.table]
                    row = connection.execute(select(table).where(table.c.id == row_key["id"])).first()
                    if row is not None:
                        found.add((kind.name, dump([row.gun])))
                    else:
                        found |= self._of_kind(connection, kind.name)
                    continue
                row = kind.by_row_key(connection, row_key)
                if row is not None:
                    found.add((kind.name, dump(kind.key_of(connection, row, names))))
                entries = t.peer_entries.c
                text = json.dumps(row_key, separators=(",", ":"), sort_keys=True)
                query = select(entries.key).where(
                    entries.row_key == text, entries.kind == kind.name, entries.deleted.is_(False)
                )
                found |= {(kind.name, key) for key in connection.execute(query).scalars()}
                if kind.name == "label":
                    # A label that got another name: what has it is named after it.
                    found |= self._of_kind(connection, "artifact-label")
                    labelled = KINDS["artifact-label"]
                    query_rows = select(labelled.table).where(labelled.table.c.label_id == row_key["id"])
                    found |= {
                        (labelled.name, dump(labelled.key_of(connection, item, names)))
                        for item in connection.execute(query_rows)
                    }
        return found

    def _of_kind(self, connection: Connection, kind: str) -> set[tuple[str, str]]:
        entries = t.peer_entries.c
        query = select(entries.key).where(entries.kind == kind, entries.deleted.is_(False))
        return {(kind, key) for key in connection.execute(query).scalars()}

    def differing(self, connection: Connection, kind: Kind) -> set[tuple[str, str]]:
        """Entities of a kind whose documents are not as recorded: for a full comparison, without a lock."""
        entries = t.peer_entries.c
        query = select(entries.key, entries.digest).where(
            entries.kind == kind.name, entries.deleted.is_(False)
        )
        recorded: dict[str, str] = {row[0]: row[1] for row in connection.execute(query)}
        found: set[tuple[str, str]] = set()
        seen: set[str] = set()
        names = new_names()
        for row in kind.rows(connection):
            key = dump(kind.key_of(connection, row, names))
            if key in seen:
                continue
            seen.add(key)
            digest = self._context.digest(kind.document(connection, self._context, row, names))
            if recorded.get(key) != digest:
                found.add((kind.name, key))
        return found | {(kind.name, key) for key in recorded if key not in seen}

    def check(self, connection: Connection, keys: Iterable[tuple[str, str]], *, first: bool = False) -> int:
        """Give versions to those entities that are not as recorded. `first`: as of their rows."""
        state = self._entries.lock(connection)
        count = self.check_locked(connection, state, keys, new_names(), first=first)
        self._entries.save(connection, state)
        return count

    def check_locked(
        self,
        connection: Connection,
        state: State,
        keys: Iterable[tuple[str, str]],
        names: Names,
        *,
        first: bool = False,
    ) -> int:
        """`check` with the state locked; deletions last, so that what a thing refers to is sent first."""
        gone: list[tuple[Kind, str, Entry]] = []
        count = 0
        for name, key in sorted(keys, key=lambda item: (ORDER[item[0]], item[1])):
            kind = KINDS[name]
            here = self._entries.entry(connection, name, key)
            row, digest = self.current(connection, kind, key, names, here)
            if row is None:
                if here is not None and not here.deleted:
                    gone.append((kind, key, here))
                continue
            if here is not None and not here.deleted and here.digest == digest:
                continue
            told = self._pending.find(connection, name, key) if name in ("manifest", "tag") else None
            if (
                name == "manifest"
                and told is not None
                and told.entry.digest == digest
                and (here is None or here.deleted)
            ):
                # Brought from a peer: no change of this instance's.
                self._entries.record(
                    connection, state, versions.merge(here, told.entry)[1], kind.row_key(row)
                )
                count += 1
                continue
            if first and here is None:
                at = versions.stamp(int(kind.stamp(row) * 1000))
                state.clock.see(at)
            else:
                at = state.clock.tick()
            if name == "tag" and told is not None:
                # It waits for its content, so it was known here before the tag was put on something else.
                here = versions.merge(here, told.entry)[1]
            entry = versions.changed(here, name, key, digest, at, self._entries.name)
            self._entries.record(connection, state, entry, kind.row_key(row))
            count += 1
        for kind, key, here in reversed(gone):
            cascade = self._cascaded(connection, kind, json.loads(key), names)
            if kind.permanent and not cascade:
                # It goes by another name now (keys, under another master key), or was cleared away here.
                table = t.peer_entries
                connection.execute(delete(table).where(table.c.kind == kind.name, table.c.key == key))
                continue
            entry = versions.changed(here, kind.name, key, "", state.clock.tick(), self._entries.name)
            self._entries.record(connection, state, replace(entry, cascade=cascade), None)
            count += 1
        return count

    def current(
        self, connection: Connection, kind: Kind, key: str, names: Names, here: Entry | None = None
    ) -> tuple[Any, str]:
        """(row, digest of its document) of an entity as it is; (None, "") when it is not there."""
        row = kind.find(connection, json.loads(key), names)
        if row is None:
            return None, ""
        digests = self._context.digests(kind.document(connection, self._context, row, names))
        if here is not None and here.digest in digests[1:]:
            # Recorded under the master key of before: no change, only another digest.
            table = t.peer_entries
            connection.execute(
                update(table).where(table.c.kind == kind.name, table.c.key == key).values(digest=digests[0])
            )
            return row, here.digest
        return row, digests[0]

    def _cascaded(self, connection: Connection, kind: Kind, key: list[Any], names: Names) -> bool:
        """Whether the project of a deleted entity is gone too."""
        project = project_of(kind, key)
        return project is not None and names.id(connection, "project", project) is None


def project_of(kind: Kind, key: list[Any]) -> str | None:
    """Name of the project that an entity belongs to, as its key tells; None when it does not tell."""
    if not kind.project:
        return None
    if kind.name in ("repository", "repository-description", "notary"):
        return str(key[0]).partition("/")[0]
    if kind.table is t.robots:
        name = str(key[0])
        return name.partition("+")[0] if "+" in name else None
    return key[0] if key[0] else None
