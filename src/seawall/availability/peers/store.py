"""Versions of documents in this instance's database: noticing local changes, taking those of peers.

Everything here is a function of a Connection and runs in one transaction. What changed here is found by
comparing documents with what was recorded, for the rows that the change feed names, so that no code that
changes something has to remember to tell. Before a peer's change is taken, its entity is compared in the same
transaction; so a local change that nobody has noticed yet is never overwritten unseen.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import DataError, IntegrityError

from seawall.availability.peers import documents, versions
from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import (
    CONTENT,
    KINDS,
    ORDER,
    TABLES,
    Context,
    Document,
    Kind,
    MissingError,
    Names,
)
from seawall.availability.peers.versions import Clock, Entry, Verdict
from seawall.infra.db import changes
from seawall.infra.db.dialect import upsert
from seawall.kernel.context import REPLICATOR
from seawall.kernel.errors import SeawallError
from seawall.registry import accounting, index
from seawall.registry import manifest as manifests_
from seawall.registry.local import LocalRegistry
from seawall.registry.model import Repository

PURPOSE = "peers"
BATCH = 200
_COSIGN_TAG = re.compile(r"sha(256|512)-[0-9a-f]+\.(sig|att|sbom)")


@dataclass(slots=True)
class State:
    """This instance's row, locked: its epoch, its last sequence number, its clock."""

    epoch: str
    seq: int
    clock: Clock
    feed_cursor: str | None
    purged_seq: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer told: the state of an entity, and its document (None for a deletion)."""

    entry: Entry
    document: Document | None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        e = self.entry
        return {
            "kind": e.kind,
            "key": e.key,
            "version": e.version,
            "vector": e.vector,
            "digest": e.digest,
            "deleted": e.deleted,
            "cascade": e.cascade,
            "document": self.document,
        }

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Told:
        """From the JSON form."""
        rest = {name: value for name, value in raw.items() if name != "document"}
        return cls(Entry(**rest), raw["document"])


class Store:
    """The entities of one instance."""

    def __init__(self, context: Context, content: LocalRegistry, name: str) -> None:
        self.context = context
        self.content = content
        self.name = name

    # -- this instance ---------------------------------------------------------------------------------

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
        _insert_once(connection, t.peer_state, row, ["id"])
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
        return None if row is None else _entry(row)

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
        _upsert(connection, t.peer_entries, {"kind": entry.kind, "key": entry.key}, values)

    # -- local changes ---------------------------------------------------------------------------------

    def pending_changes(self, connection: Connection) -> bool:
        """Whether the feed has something that was not looked at; cheap, and takes no lock."""
        cursor = connection.execute(select(t.peer_state.c.feed_cursor)).scalar()
        if cursor is None:
            return True
        found = changes.since(connection, cursor)
        return found is None or bool(found[0])

    def observe(self, connection: Connection) -> int | None:
        """Give versions to what changed here since the last look; None: a full comparison is needed."""
        state = self.lock(connection)
        if state.feed_cursor is None:
            return None
        found = changes.since(connection, state.feed_cursor)
        if found is None:
            return None
        changed, state.feed_cursor = found
        count = 0
        if changed:
            names = Names()
            count = self._check(connection, state, self._affected(connection, changed, names), names)
        self.save(connection, state)
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
        names = Names()
        for row in kind.rows(connection):
            key = dump(kind.key_of(connection, row, names))
            if key in seen:
                continue
            seen.add(key)
            digest = self.context.digest(kind.document(connection, self.context, row, names))
            if recorded.get(key) != digest:
                found.add((kind.name, key))
        return found | {(kind.name, key) for key in recorded if key not in seen}

    def check(self, connection: Connection, keys: Iterable[tuple[str, str]], *, first: bool = False) -> int:
        """Give versions to those entities that are not as recorded. `first`: as of their rows."""
        state = self.lock(connection)
        count = self._check(connection, state, keys, Names(), first=first)
        self.save(connection, state)
        return count

    def _check(
        self,
        connection: Connection,
        state: State,
        keys: Iterable[tuple[str, str]],
        names: Names,
        *,
        first: bool = False,
    ) -> int:
        """`check` with the state locked; deletions last, so that what a thing refers to is told first."""
        gone: list[tuple[Kind, str, Entry]] = []
        count = 0
        for name, key in sorted(keys, key=lambda item: (ORDER[item[0]], item[1])):
            kind = KINDS[name]
            here = self.entry(connection, name, key)
            row, digest = self._current(connection, kind, key, names, here)
            if row is None:
                if here is not None and not here.deleted:
                    gone.append((kind, key, here))
                continue
            if here is not None and not here.deleted and here.digest == digest:
                continue
            told = self.pending(connection, name, key) if name == "manifest" else None
            if told is not None and told.entry.digest == digest and (here is None or here.deleted):
                # Brought from a peer: no change of this instance's.
                self.record(connection, state, versions.merge(here, told.entry)[1], kind.row_key(row))
                count += 1
                continue
            if first and here is None:
                at = versions.stamp(int(kind.stamp(row) * 1000))
                state.clock.see(at)
            else:
                at = state.clock.tick()
            entry = versions.changed(here, name, key, digest, at, self.name)
            self.record(connection, state, entry, kind.row_key(row))
            count += 1
        for kind, key, here in reversed(gone):
            cascade = self._cascaded(connection, kind, json.loads(key), names)
            if kind.permanent and not cascade:
                # It goes by another name now (keys, under another master key), or was cleared away here.
                table = t.peer_entries
                connection.execute(delete(table).where(table.c.kind == kind.name, table.c.key == key))
                continue
            entry = versions.changed(here, kind.name, key, "", state.clock.tick(), self.name)
            self.record(connection, state, replace(entry, cascade=cascade), None)
            count += 1
        return count

    def _current(
        self, connection: Connection, kind: Kind, key: str, names: Names, here: Entry | None = None
    ) -> tuple[Any, str]:
        """(row, digest of its document) of an entity as it is; (None, "") when it is not there."""
        row = kind.find(connection, json.loads(key), names)
        if row is None:
            return None, ""
        digests = self.context.digests(kind.document(connection, self.context, row, names))
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
        project = _project_of(kind, key)
        return project is not None and names.id(connection, "project", project) is None

    # -- what a peer is told ---------------------------------------------------------------------------

    def told(self, connection: Connection, after: int, limit: int = BATCH) -> dict[str, Any]:
        """What changed after a number: `entries`, the number to go on from, and how many are left."""
        state = connection.execute(select(t.peer_state)).one()
        table = t.peer_entries
        rows = connection.execute(
            select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
        ).all()
        names = Names()
        entries = []
        for row in rows:
            entry = _entry(row)
            document = None
            if not entry.deleted:
                kind = KINDS.get(entry.kind)
                item = kind and kind.find(connection, json.loads(entry.key), names)
                if kind is None or item is None:
                    # It went in the meantime, which will be told under a number of its own.
                    continue
                document = kind.document(connection, self.context, item, names)
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

    # -- what a peer tells -----------------------------------------------------------------------------

    def take(self, connection: Connection, told: Iterable[Told], url: str) -> int:
        """Apply what a peer told; what cannot be applied yet is kept as pending. Returns how many did."""
        state = self.lock(connection)
        count = sum(self._take(connection, state, item, url) for item in sorted(told, key=turn))
        self.save(connection, state)
        return count

    def retry(self, connection: Connection, where: Any = None) -> int:
        """Apply what was pending and now can be; returns how many."""
        state = self.lock(connection)
        table = t.peer_pending
        query = select(table)
        if where is not None:
            query = query.where(where)
        items = [(self._pending(row), row.url) for row in connection.execute(query)]
        count = 0
        for told, url in sorted(items, key=lambda item: turn(item[0])):
            count += self._take(connection, state, told, url)
        self.save(connection, state)
        return count

    def _pending(self, row: Any) -> Told:
        return Told(Entry(**row.entry), json.loads(self.context.keys.decrypt(PURPOSE, row.document)))

    def pending(self, connection: Connection, kind: str, key: str) -> Told | None:
        """What a peer told of an entity that could not be applied yet."""
        table = t.peer_pending
        row = connection.execute(select(table).where(table.c.kind == kind, table.c.key == key)).first()
        return None if row is None else self._pending(row)

    def _take(self, connection: Connection, state: State, told: Told, url: str) -> int:
        """Apply one; 1 when it changed something here."""
        incoming = told.entry
        kind = KINDS.get(incoming.kind)
        if kind is None:
            self._wait(connection, told, url, "this version does not know it; upgrade this instance")
            return 0
        names = Names()
        try:
            self._check(connection, state, [(kind.name, incoming.key)], names)
        except (LookupError, TypeError, ValueError) as error:
            self._wait(connection, told, url, f"its key is not understood: {type(error).__name__}")
            return 0
        # After the look at what changed here: that was before.
        state.clock.see(incoming.version)
        here = self.entry(connection, kind.name, incoming.key)
        verdict, result = versions.merge(here, incoming)
        if verdict in (Verdict.SAME, Verdict.OLDER, Verdict.KEEP):
            assert here is not None
            if verdict is Verdict.KEEP:
                self._conflict(
                    connection,
                    result,
                    incoming,
                    self._document(connection, kind, incoming.key),
                    told.document,
                )
            if result.vector != here.vector:
                self._set_vector(connection, result)
            self._done(connection, incoming)
            return 0
        before = self._document(connection, kind, incoming.key) if verdict is Verdict.TAKE else None
        try:
            with connection.begin_nested():
                alive = self._write(connection, state, kind, told, result, names)
        except (MissingError, SeawallError, LookupError, TypeError, ValueError, DataError) as error:
            # One that cannot be applied must not hold up the others; `ha check` names it with the reason.
            self._wait(connection, told, url, (str(error) or type(error).__name__).splitlines()[0][:500])
            return 0
        except IntegrityError as error:
            if self._clash(connection, state, kind, told, result, names):
                self._done(connection, incoming)
                return 1
            self._wait(connection, told, url, str(error.orig).splitlines()[0][:500])
            return 0
        if not alive:
            row, digest = self._current(connection, kind, incoming.key, Names())
            if row is None and not incoming.deleted:
                self._wait(connection, told, url, "it does not stay")
                return 0
            if not (incoming.deleted and row is None and kind.permanent):
                # What only this instance knows may make it differ; that must not look like a change.
                result = replace(result, digest=digest, deleted=row is None)
            self.record(connection, state, result, None if row is None else kind.row_key(row))
        if verdict is Verdict.TAKE and not alive:
            self._conflict(connection, result, here, told.document, before)
        self._done(connection, incoming)
        return 1

    def _write(
        self, connection: Connection, state: State, kind: Kind, told: Told, result: Entry, names: Names
    ) -> bool:
        """Make an entity what a peer told. True: it was a deletion that something later here forbids."""
        key = json.loads(told.entry.key)
        if told.entry.deleted:
            row = kind.find(connection, key, names)
            if row is None:
                return False
            reason = self._needed(connection, kind, key, row, told.entry, names)
            if reason:
                digest = self.context.digest(kind.document(connection, self.context, row, names))
                entry = versions.changed(result, kind.name, result.key, digest, state.clock.tick(), self.name)
                entry = replace(entry, deleted=False, cascade=False)
                self.record(connection, state, entry, kind.row_key(row))
                kept = kind.document(connection, self.context, row, names)
                self._conflict(connection, entry, told.entry, kept, None, reason)
                return True
            if not kind.permanent or told.entry.cascade:
                self._drop(connection, kind, key, row)
            return False
        assert told.document is not None
        if kind.name == "manifest":
            self._put_manifest(connection, kind, key, told.document, names)
        elif kind.name == "tag":
            self._put_tag(connection, key, told.document)
        else:
            kind.put(connection, self.context, key, told.document, names)
            if kind.name == "user" and told.document.get("email"):
                self._one_address(connection, told.document["email"], result)
        return False

    # -- deletions -------------------------------------------------------------------------------------

    def _needed(
        self, connection: Connection, kind: Kind, key: list[Any], row: Any, deletion: Entry, names: Names
    ) -> str:
        """Why an entity stays although a peer deleted it, "" when it goes.

        Nothing that was acknowledged later, or without knowing of the deletion, goes with it.
        """
        if deletion.cascade and kind.name not in CONTENT:
            project = _project_of(kind, key)
            if project is not None and names.id(connection, "project", project) is not None:
                return "its project stays"
        if kind.name == "registry":
            users = select(t.projects.c.name).where(t.projects.c.registry_id == row.id)
            policies = select(t.replication_policies.c.name).where(
                or_(
                    t.replication_policies.c.src_registry_id == row.id,
                    t.replication_policies.c.dest_registry_id == row.id,
                )
            )
            using = connection.execute(users).scalar() or connection.execute(policies).scalar()
            if using:
                return f"{using} uses it"
        if kind.name == "project" and self._later(
            connection, t.manifests.c.project_id == row.id, deletion.version
        ):
            return "something was pushed to it"
        if kind.name == "repository" and self._later(
            connection, t.manifests.c.repository_id == row.id, deletion.version
        ):
            return "something was pushed to it"
        if kind.name == "manifest":
            tags = connection.execute(select(t.tags.c.name).where(t.tags.c.manifest_id == row.id)).scalars()
            for tag in tags.all():
                waiting = self.pending(connection, "tag", dump([key[0], tag]))
                if waiting is not None and waiting.document is not None:
                    raise MissingError(f"tag {tag} has other content that is not here yet")
                # A deletion that knew of the tag has come with the tag's.
                return f"tag {tag} is on it"
            references = t.manifest_references
            parents = connection.execute(
                select(t.manifests.c.digest)
                .join(references, references.c.manifest_id == t.manifests.c.id)
                .where(
                    references.c.repository_id == row.repository_id,
                    references.c.digest == row.digest,
                    references.c.kind == "manifest",
                )
            ).scalars()
            for parent in parents.all():
                entry = self.entry(connection, "manifest", dump([key[0], parent]))
                if entry is None or entry.version > deletion.version:
                    return f"index {parent} has it"
        return ""

    def _later(self, connection: Connection, where: Any, version: str) -> bool:
        """Whether manifests are here that came after `version`, or that nobody has recorded yet."""
        query = (
            select(t.repositories.c.name, t.manifests.c.digest)
            .join(t.repositories, t.repositories.c.id == t.manifests.c.repository_id)
            .where(where)
        )
        for name, digest in connection.execute(query):
            entry = self.entry(connection, "manifest", dump([name, digest]))
            if entry is None or entry.deleted or entry.version > version:
                return True
        return False

    def _drop(self, connection: Connection, kind: Kind, key: list[Any], row: Any) -> None:
        if kind.name in ("manifest", "tag"):
            repository = _repository(connection, key[0])
            if repository is not None:
                self.content.deletions.delete_in(connection, repository, key[1], REPLICATOR, replica=True)
            return
        if kind.name == "repository":
            repository = _repository(connection, key[0])
            assert repository is not None
            digests = select(t.manifests.c.digest).where(t.manifests.c.repository_id == repository.id)
            for digest in connection.execute(digests.order_by(t.manifests.c.id.desc())).scalars().all():
                self.content.deletions.delete_in(connection, repository, digest, REPLICATOR, replica=True)
            account = accounting.lock(connection, repository.project_id)
            linked = connection.execute(
                delete(t.repository_blobs)
                .where(t.repository_blobs.c.repository_id == repository.id)
                .returning(t.repository_blobs.c.digest)
            ).scalars()
            accounting.release(connection, account, linked.all())
        kind.drop(connection, self.context, row)

    # -- content ---------------------------------------------------------------------------------------

    def _put_manifest(
        self, connection: Connection, kind: Kind, key: list[Any], document: Document, names: Names
    ) -> None:
        row = kind.find(connection, key, names)
        if row is None:
            raise MissingError("its content is not here yet")
        connection.execute(
            update(t.manifests)
            .where(t.manifests.c.id == row.id)
            .values(pushed_at=document["pushed_at"], media_type=document["media_type"])
        )

    def _put_tag(self, connection: Connection, key: list[Any], document: Document) -> None:
        repository = _repository(connection, key[0])
        if repository is None:
            raise MissingError("its content is not here yet")
        manifests = t.manifests.c
        found = connection.execute(
            select(manifests.id, manifests.accessory_of).where(
                manifests.repository_id == repository.id, manifests.digest == document["digest"]
            )
        ).first()
        if found is None:
            raise MissingError("its content is not here yet")
        accounting.lock(connection, repository.project_id)
        affected = {found.id, *index.holders(connection, repository.id, [key[1]])}
        _upsert(
            connection,
            t.tags,
            {"repository_id": repository.id, "name": key[1]},
            {"manifest_id": found.id, "pushed_at": document["pushed_at"]},
        )
        if found.accessory_of is None and _COSIGN_TAG.fullmatch(key[1]):
            payload = connection.execute(
                select(t.manifest_payloads.c.payload).where(t.manifest_payloads.c.manifest_id == found.id)
            ).scalar_one()
            attached = index.accessory(manifests_.parse(bytes(payload), None), document["digest"], [key[1]])
            if attached is not None:
                connection.execute(
                    update(t.manifests)
                    .where(manifests.id == found.id)
                    .values(accessory_type=attached[0], accessory_of=attached[1])
                )
        index.relist(connection, repository.id, affected)
        repositories = t.repositories.c
        connection.execute(
            update(t.repositories)
            .where(
                repositories.id == repository.id,
                or_(repositories.pushed_at.is_(None), repositories.pushed_at < document["pushed_at"]),
            )
            .values(pushed_at=document["pushed_at"])
        )

    # -- conflicts -------------------------------------------------------------------------------------

    def _clash(
        self, connection: Connection, state: State, kind: Kind, told: Told, result: Entry, names: Names
    ) -> bool:
        """Two entities want the same unique thing: the one whose key sorts first has it."""
        if told.document is None:
            return False
        key = json.loads(told.entry.key)
        try:
            values = kind.values(connection, self.context, key, told.document, names)
        except MissingError:
            return False
        for columns in kind.unique:
            query = select(kind.table).where(*(kind.table.c[name] == values[name] for name in columns))
            for row in connection.execute(query).all():
                other = dump(kind.key_of(connection, row, names))
                if other == told.entry.key:
                    continue
                note = f"same {' and '.join(columns)} as {documents.show(key)}"
                document = kind.document(connection, self.context, row, names)
                if told.entry.key < other:
                    entry = self.entry(connection, kind.name, other)
                    kind.drop(connection, self.context, row)
                    self._check(connection, state, [(kind.name, other)], Names())
                    dropped = entry or Entry(kind.name, other, f"{versions.stamp(0)}@{self.name}")
                    self._conflict(connection, told.entry, dropped, told.document, document, note)
                    return self._take(connection, state, told, "") == 1
                gone = versions.changed(result, kind.name, told.entry.key, "", state.clock.tick(), self.name)
                self.record(connection, state, gone, None)
                self._conflict(connection, gone, told.entry, document, told.document, note)
                return True
        return False

    def _one_address(self, connection: Connection, email: str, result: Entry) -> None:
        """Two users with one e-mail address: the first by name keeps it."""
        query = select(t.users.c.id, t.users.c.username).where(t.users.c.email == email)
        rows = sorted(connection.execute(query).all(), key=lambda row: str(row.username))
        for row in rows[1:]:
            kept = {"username": rows[0].username, "email": email}
            dropped = {"username": row.username, "email": email}
            connection.execute(update(t.users).where(t.users.c.id == row.id).values(email=None))
            key = dump([row.username])
            loser = self.entry(connection, "user", key) or replace(result, key=key)
            self._conflict(connection, replace(result, key=key), loser, kept, dropped, "same e-mail address")

    def _document(self, connection: Connection, kind: Kind, key: str) -> Document | None:
        names = Names()
        row = kind.find(connection, json.loads(key), names)
        return None if row is None else kind.document(connection, self.context, row, names)

    def _conflict(
        self,
        connection: Connection,
        kept: Entry,
        dropped: Entry | None,
        kept_document: Document | None,
        dropped_document: Document | None,
        note: str = "",
    ) -> None:
        """Record what lost, once."""
        if dropped is None or kept.kind in ("session", "conflict"):
            return
        table = t.peer_conflicts
        known = select(table.c.id).where(
            table.c.kind == kept.kind, table.c.key == kept.key, table.c.dropped_version == dropped.version
        )
        if connection.execute(known).first() is not None:
            return
        seal = self.context.keys.encrypt
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

    # -- rows ------------------------------------------------------------------------------------------

    def _set_vector(self, connection: Connection, entry: Entry) -> None:
        table = t.peer_entries
        connection.execute(
            update(table)
            .where(table.c.kind == entry.kind, table.c.key == entry.key)
            .values(vector=entry.vector)
        )

    def _wait(self, connection: Connection, told: Told, url: str, reason: str) -> None:
        """Keep what cannot be applied yet; of two states of an entity the later one."""
        waiting = self.pending(connection, told.entry.kind, told.entry.key)
        if waiting is not None and waiting.entry.version > told.entry.version:
            told = waiting
        entry = told.as_dict()
        document = json.dumps(entry.pop("document")).encode()
        _upsert(
            connection,
            t.peer_pending,
            {"kind": told.entry.kind, "key": told.entry.key},
            {
                "entry": entry,
                "document": self.context.keys.encrypt(PURPOSE, document),
                "reason": reason,
                **({"url": url} if url or waiting is None else {}),
            },
            {"since": time.time()},
        )

    def _done(self, connection: Connection, entry: Entry) -> None:
        """What was pending of an entity is settled, up to this version."""
        table = t.peer_pending
        where = and_(table.c.kind == entry.kind, table.c.key == entry.key)
        row = connection.execute(select(table.c.entry).where(where)).first()
        if row is not None and row.entry["version"] <= entry.version:
            connection.execute(delete(table).where(where))

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


def dump(key: list[Any]) -> str:
    """A natural key as text."""
    return json.dumps(key, separators=(",", ":"), ensure_ascii=False)


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


def _entry(row: Any) -> Entry:
    return Entry(row.kind, row.key, row.version, dict(row.vector), row.digest, row.deleted, row.cascade)


def _project_of(kind: Kind, key: list[Any]) -> str | None:
    """Name of the project that an entity belongs to, as its key tells; None when it does not tell."""
    if not kind.project:
        return None
    if kind.name in ("repository", "notary"):
        return str(key[0]).partition("/")[0]
    if kind.name == "robot":
        name = str(key[0])
        return name.partition("+")[0] if "+" in name else None
    return key[0] if key[0] else None


def _repository(connection: Connection, name: str) -> Repository | None:
    row = connection.execute(
        select(t.repositories.c.id, t.repositories.c.name, t.repositories.c.project_id, t.projects.c.public)
        .join(t.projects, t.projects.c.id == t.repositories.c.project_id)
        .where(t.repositories.c.name == name)
    ).first()
    return Repository(*row) if row else None


def _insert_once(connection: Connection, table: Any, values: dict[str, Any], keys: list[str]) -> None:
    connection.execute(upsert(connection, table, values, keys))


def _upsert(
    connection: Connection,
    table: Any,
    key: dict[str, Any],
    changes_: dict[str, Any],
    first: dict[str, Any] | None = None,
) -> None:
    values = {**key, **changes_, **(first or {})}
    connection.execute(upsert(connection, table, values, list(key), changes_))
