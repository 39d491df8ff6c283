"""Word of a change to every process at once: PostgreSQL's NOTIFY. It may get lost, so pollers poll on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import Connection, text

from seawall.infra.db.engine import Database

_AGAIN_SECONDS = 2.0
# How long nothing is heard before the server is asked whether it is still there, and how long that may take.
_SILENCE_SECONDS = 10.0
_PATIENCE_SECONDS = 3.0


def notify(connection: Connection, channel: str) -> None:
    """Tell the listeners of a channel when the caller's transaction commits; nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})


async def listen(db: Database, channel: str) -> AsyncIterator[None]:
    """One item for each `notify`, and one whenever some may have been missed; none ever on SQLite.

    Takes a connection of its own and makes it again when it breaks, until closed. Behind a pooler that has no
    LISTEN (PgBouncer's transaction mode) nothing comes.
    """
    if db.dialect != "postgresql":
        return
    import psycopg

    from seawall.infra.db.connections import connection_info
    from seawall.infra.db.hosts import STANDING
    from seawall.infra.db.postgres import PostgresDatabase

    assert isinstance(db, PostgresDatabase)
    while True:
        with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
            connection = await psycopg.AsyncConnection.connect(connection_info(db.url), autocommit=True)
            async with connection:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                yield
                while True:
                    async for _ in connection.notifies(timeout=_SILENCE_SECONDS):
                        yield
                    # A server that hangs, or was superseded and woke up, notifies nobody.
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        row = await (await connection.execute(STANDING)).fetchone()
                    if row is not None and db.hosts.superseded(row[0], row[1]):
                        break
        await asyncio.sleep(_AGAIN_SECONDS)
