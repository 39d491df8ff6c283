"""The changes of the last moment, from all sources, in one look at the database.

Every process that has somebody to tell looks for itself. So nothing needs to travel between instances, a
change costs nothing extra for being reported, and SQLite does as well as PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from seawall.infra.db import Database
from seawall.infra.live.events import Event, Source


class Feed:
    """Looks at the sources; one look at a time."""

    def __init__(self, db: Database, sources: Sequence[Source]) -> None:
        self._db = db
        self._sources = sources
        self._states: list[Any] = [None] * len(sources)

    def forget(self) -> None:
        """Begin again: what happens until the next look is reported to nobody."""
        self._states = [None] * len(self._sources)

    async def changes(self) -> list[Event] | None:
        """What changed since the last look, each once; None: everything may have. Raises UnavailableError."""

        def look(connection: Connection) -> list[tuple[list[Event] | None, Any]]:
            pairs = zip(self._sources, self._states, strict=True)
            return [source.look(connection, state) for source, state in pairs]

        found = await self._db.read(look)
        self._states = [state for _, state in found]
        events: dict[Event, None] = {}
        for some, _ in found:
            if some is None:
                return None
            events |= dict.fromkeys(some)
        return list(events)
