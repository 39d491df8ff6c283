"""Taking what peers tell.

Before a peer's change is taken, its entity is compared in the same transaction; so a local change that nobody
has noticed yet is never overwritten unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DataError, IntegrityError

from seawall.availability.peers import documents, versions
from seawall.availability.peers import schema as t
from seawall.availability.peers.conflicts import Conflicts
from seawall.availability.peers.content import ContentWriter
from seawall.availability.peers.deletions import Deletions
from seawall.availability.peers.documents import Kind, Names
from seawall.availability.peers.entries import Entries
from seawall.availability.peers.kinds import CONTENT, KINDS, ORDER, new_names
from seawall.availability.peers.local import LocalChanges
from seawall.availability.peers.model import Context, Document, MissingError, State, Told, dump
from seawall.availability.peers.pending import Pending
from seawall.availability.peers.versions import Entry, Verdict
from seawall.infra.db.batch import savepoint
from seawall.kernel.errors import SeawallError


class Applier:
    """Applies changes of peers."""

    def __init__(
        self,
        context: Context,
        entries: Entries,
        local: LocalChanges,
        pending: Pending,
        content: ContentWriter,
        deletions: Deletions,
        conflicts: Conflicts,
    ) -> None:
        self._context = context
        self._entries = entries
        self._local = local
        self._pending = pending
        self._content = content
        self._deletions = deletions
        self._conflicts = conflicts

    def take(self, connection: Connection, told: Iterable[Told], url: str) -> int:
        """Apply what a peer sent; what cannot be applied yet is kept as pending. Returns how many did."""
        state = self._entries.lock(connection)
        count = sum(self._take(connection, state, item, url) for item in sorted(told, key=turn))
        self._entries.save(connection, state)
        return count

    def retry(self, connection: Connection, where: Any = None) -> int:
        """Apply what was pending and now can be; returns how many."""
        table = t.peer_pending
        query = select(table)
        if where is not None:
            query = query.where(where)
        items = [(self._pending.told(row), row.url) for row in connection.execute(query)]
        return self._retry(connection, items, last=False)

    def decide(self, connection: Connection, url: str) -> int:
        """Apply or refuse the deletions of a peer that waited, now that all it has was taken."""
        table = t.peer_pending
        rows = connection.execute(select(table).where(table.c.url == url))
        items = [(told, url) for row in rows if (told := self._pending.told(row)).entry.deleted]
        return self._retry(connection, items, last=True)

    def _retry(self, connection: Connection, items: list[tuple[Told, str]], *, last: bool) -> int:
        if not items:
            return 0
        state = self._entries.lock(connection)
        count = 0
        for told, url in sorted(items, key=lambda item: turn(item[0])):
            count += self._take(connection, state, told, url, last=last)
        self._entries.save(connection, state)
        return count

    def _take(self, connection: Connection, state: State, told: Told, url: str, *, last: bool = False) -> int:
        """Apply one; 1 when it changed something here. `last`: nothing more comes that was sent with it."""
        incoming = told.entry
        kind = KINDS.get(incoming.kind)
        if kind is None:
            self._pending.wait(connection, told, url, "this version does not know it; upgrade this instance")
            return 0
        names = new_names()
        try:
            self._local.check_locked(connection, state, [(kind.name, incoming.key)], names)
        except (LookupError, TypeError, ValueError) as error:
            self._pending.wait(connection, told, url, f"its key is not understood: {type(error).__name__}")
            return 0
        # After the look at what changed here: that was before.
        state.clock.see(incoming.version)
        here = self._entries.entry(connection, kind.name, incoming.key)
        verdict, result = versions.merge(here, incoming)
        if verdict in (Verdict.SAME, Verdict.OLDER, Verdict.KEEP):
            assert here is not None
            if verdict is Verdict.KEEP:
                self._conflicts.record(
                    connection,
                    result,
                    incoming,
                    self._document(connection, kind, incoming.key),
                    told.document,
                )
            if result.vector != here.vector:
                self._entries.set_vector(connection, result)
            self._pending.settle(connection, incoming)
            return 0
        before = self._document(connection, kind, incoming.key) if verdict is Verdict.TAKE else None
        try:
            with savepoint(connection):
                alive = self._write(connection, state, kind, told, result, names, last=last)
        except (MissingError, SeawallError, LookupError, TypeError, ValueError, DataError) as error:
            # One that cannot be applied must not hold up the others; `ha check` names it with the reason.
            self._pending.wait(
                connection, told, url, (str(error) or type(error).__name__).splitlines()[0][:500]
            )
            if kind.name in ("manifest", "tag") and told.document is not None:
                self._content.announce(connection, json.loads(incoming.key)[0], told.document)
            return 0
        except IntegrityError as error:
            if self._clash(connection, state, kind, told, result, names):
                self._pending.settle(connection, incoming)
                return 1
            self._pending.wait(connection, told, url, str(error.orig).splitlines()[0][:500])
            return 0
        if not alive:
            row, digest = self._local.current(connection, kind, incoming.key, new_names())
            if row is None and not incoming.deleted:
                self._pending.wait(connection, told, url, "it does not stay")
                return 0
            if not (incoming.deleted and row is None and kind.permanent):
                # What only this instance knows may make it differ; that must not look like a change.
                result = replace(result, digest=digest, deleted=row is None)
            self._entries.record(connection, state, result, None if row is None else kind.row_key(row))
        if verdict is Verdict.TAKE and not alive:
            self._conflicts.record(connection, result, here, told.document, before)
        self._pending.settle(connection, incoming)
        return 1

    def _write(
        self,
        connection: Connection,
        state: State,
        kind: Kind,
        told: Told,
        result: Entry,
        names: Names,
        *,
        last: bool,
    ) -> bool:
        """Make an entity what a peer sent. True: it was a deletion that something later here forbids."""
        key = json.loads(told.entry.key)
        if told.entry.deleted:
            row = kind.find(connection, key, names)
            if row is None:
                return False
            reason = self._deletions.needed(connection, kind, key, row, told.entry, names, last=last)
            if reason:
                digest = self._context.digest(kind.document(connection, self._context, row, names))
                entry = versions.changed(
                    result, kind.name, result.key, digest, state.clock.tick(), self._entries.name
                )
                entry = replace(entry, deleted=False, cascade=False)
                self._entries.record(connection, state, entry, kind.row_key(row))
                kept = kind.document(connection, self._context, row, names)
                self._conflicts.record(connection, entry, told.entry, kept, None, reason)
                return True
            if not kind.permanent or told.entry.cascade:
                self._content.drop(connection, kind, key, row)
            return False
        assert told.document is not None
        if kind.name == "manifest":
            self._content.put_manifest(connection, kind, key, told.document, names)
        elif kind.name == "tag":
            self._content.put_tag(connection, key, told.document)
        else:
            kind.put(connection, self._context, key, told.document, names)
            if kind.name == "user-profile" and told.document.get("email"):
                self._conflicts.one_address(connection, told.document["email"], result)
        return False

    def _clash(
        self, connection: Connection, state: State, kind: Kind, told: Told, result: Entry, names: Names
    ) -> bool:
        """Two entities want the same unique thing: the one whose key sorts first has it."""
        if told.document is None:
            return False
        key = json.loads(told.entry.key)
        try:
            values = kind.values(connection, self._context, key, told.document, names)
        except MissingError:
            return False
        for columns in kind.unique:
            query = select(kind.table).where(*(kind.table.c[name] == values[name] for name in columns))
            for row in connection.execute(query).all():
                other = dump(kind.key_of(connection, row, names))
                if other == told.entry.key:
                    continue
                note = f"same {' and '.join(columns)} as {documents.show(key)}"
                document = kind.document(connection, self._context, row, names)
                if told.entry.key < other:
                    entry = self._entries.entry(connection, kind.name, other)
                    kind.drop(connection, self._context, row)
                    self._local.check_locked(connection, state, [(kind.name, other)], new_names())
                    dropped = entry or Entry(kind.name, other, f"{versions.stamp(0)}@{self._entries.name}")
                    self._conflicts.record(connection, told.entry, dropped, told.document, document, note)
                    return self._take(connection, state, told, "") == 1
                gone = versions.changed(
                    result, kind.name, told.entry.key, "", state.clock.tick(), self._entries.name
                )
                self._entries.record(connection, state, gone, None)
                self._conflicts.record(connection, gone, told.entry, document, told.document, note)
                return True
        return False

    def _document(self, connection: Connection, kind: Kind, key: str) -> Document | None:
        names = new_names()
        row = kind.find(connection, json.loads(key), names)
        return None if row is None else kind.document(connection, self._context, row, names)


def turn(told: Told) -> tuple[int, int]:
    """When something is applied: what others refer to first; deletions from the inside out, projects last."""
    order, content = ORDER.get(told.entry.kind, 0), told.entry.kind in CONTENT
    if not told.entry.deleted:
        return (2 if content else 0), order
    if content:
        return 1, -order
    if told.entry.cascade:
        return 4, -order
    return 3, -order
