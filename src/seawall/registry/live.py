"""Tells those who look on that artifacts of a repository changed.

The change writes a row in its own transaction, which goes to the database with what else the transaction
writes. Processes with somebody to tell read the rows that are new, and all delete them when they are old.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select

from seawall.infra.db import Database
from seawall.infra.db.batch import later
from seawall.infra.live.events import Event
from seawall.registry.hooks import ContentHook, Deletion, Push, Tagging
from seawall.registry.model import Repository
from seawall.registry.part import ContentPart
from seawall.registry.tables import content_changes

ARTIFACT = "artifact"
# Rows are read within seconds; after a longer gap everything is asked for again.
KEEP_SECONDS = 600
_MOST = 500
# A number that is missing belongs to a transaction that is not committed yet, or never will be.
_LATE_SECONDS = 60.0
_INSERT = insert(content_changes)


class LiveHook(ContentHook):
    """Writes that a repository's artifacts changed."""

    replicas = True
    blind = True

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        _write(connection, push.repository)

    def after_tag(self, connection: Connection, tagging: Tagging) -> None:
        """See ContentHook.after_tag."""
        _write(connection, tagging.repository)

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.after_delete."""
        if deletion.root:
            _write(connection, deletion.repository)

    def before_delete_repository(self, connection: Connection, repository: Repository) -> None:
        """See ContentHook.before_delete_repository."""
        _write(connection, repository)


def _write(connection: Connection, repository: Repository) -> None:
    row = {"at": time.time(), "project_id": repository.project_id, "repository": repository.name}
    later(connection, _INSERT, row)


@dataclass(frozen=True, slots=True)
class _State:
    last: int
    # Numbers below `last` that were not there, and since when (monotonic seconds).
    missing: dict[int, float]


class ContentSource:
    """See `seawall.infra.live.events.Source`."""

    def look(self, connection: Connection, state: _State | None) -> tuple[list[Event] | None, _State]:
        """See Source.look."""
        newest = connection.execute(select(func.max(content_changes.c.id))).scalar()
        if state is None:
            return [], _State(newest or 0, {})
        if newest is not None and newest < state.last and newest not in state.missing:
            # Numbers begin again: the database was restored, or is another one.
            return None, _State(newest, {})
        now = time.monotonic()
        missing = {key: at for key, at in state.missing.items() if now - at < _LATE_SECONDS}
        if not missing and (newest is None or newest <= state.last):
            return [], _State(state.last, missing)
        table = content_changes.c
        query = select(table.id, table.project_id, table.repository).where(
            or_(table.id > state.last, table.id.in_(missing))
        )
        rows = connection.execute(query.order_by(table.id).limit(_MOST + 1)).all()
        if len(rows) > _MOST:
            return None, _State(max(newest or 0, state.last), {})
        here = {row[0] for row in rows}
        last = max(here | {state.last})
        gone = [key for key in range(max(state.last, last - _MOST) + 1, last) if key not in here]
        missing = {key: at for key, at in missing.items() if key not in here} | dict.fromkeys(gone, now)
        return [Event(ARTIFACT, row[1], row[2]) for row in rows], _State(last, missing)


class Sweep:
    """Deletes what everybody has read."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self) -> None:
        """Delete old rows now and then, until cancelled."""
        while True:
            # Spread out, so that the instances do not all do it at once.
            await asyncio.sleep(KEEP_SECONDS / 2 + secrets.randbelow(KEEP_SECONDS // 2))
            await self.once()

    async def once(self) -> None:
        """Delete what is old now, but the newest: SQLite gives its number again when no row is left."""
        old = content_changes.c.at < time.time() - KEEP_SECONDS
        newest = select(func.max(content_changes.c.id)).scalar_subquery()
        query = delete(content_changes).where(old, content_changes.c.id < newest)
        await self._db.write(lambda c: c.execute(query), durable=False)


def part(db: Database) -> ContentPart:
    """Tell of changes of content."""
    return ContentPart(hooks=(LiveHook(),), background=(Sweep(db).run,))
