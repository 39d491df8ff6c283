"""Which rows changed: a feed that followers at other sites read, kept by triggers.

The triggers are there only where a feature asked for them (`ensure`), so a cluster without followers pays
nothing. The log names rows by primary key and not their content: a follower reads what the rows are now, in
the same snapshot, and takes a row that is not there as deleted. Getting a row twice is harmless, so cursors
need only be safe, never exact.

A cursor is text to hand back. On SQLite writers take turns, and a number is enough. On PostgreSQL
transactions commit in another order than they took their numbers; there the cursor is a snapshot
(`pg_current_snapshot()`), and what comes after it are the transactions that it did not see.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from seawall.infra.db.tables import change_feed, change_log

_PREFIX = "seawall_log_"
_OPERATIONS = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was inserted, updated or deleted: its table and its primary key."""

    table: str
    key: tuple[tuple[str, Any], ...]


def ensure(connection: Connection, tables: Iterable[Table]) -> None:
    """Log changes of `tables` from now on; those that are logged already stay so.

    To be called at every start: a migration that rebuilds a table drops its triggers.
    """
    if connection.execute(select(change_feed.c.id)).first() is None:
        connection.execute(insert(change_feed).values(id=1, feed=uuid.uuid4().hex))
    known = _triggers(connection)
    for table in tables:
        if not {f"{_PREFIX}{table.name}_{operation}" for operation in _OPERATIONS} <= known:
            if connection.dialect.name == "postgresql":
                _install_postgresql(connection, table)
            else:
                _install_sqlite(connection, table)


def remove(connection: Connection) -> None:
    """Stop logging and forget the log; followers start again when it is switched on again."""
    for name in sorted(_triggers(connection)):
        if connection.dialect.name == "postgresql":
            function = name.rpartition("_")[0]
            connection.exec_driver_sql(f'DROP FUNCTION IF EXISTS "{function}"() CASCADE')
        else:
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    connection.execute(delete(change_log))
    connection.execute(delete(change_feed))


@contextlib.contextmanager
def unlogged(connection: Connection) -> Iterator[None]:
    """Leave what this transaction does inside the block out of the log."""
    _mute(connection, True)
    try:
        yield
    except BaseException:
        # The transaction is rolled back, and with it the switch; in a failed one nothing more can be said.
        raise
    else:
        _mute(connection, False)


def feed_id(connection: Connection) -> str | None:
    """The name of this feed, None while nothing is logged. Another name: cursors of old mean nothing."""
    return connection.execute(select(change_feed.c.feed)).scalar()


def position(connection: Connection) -> str:
    """The cursor after all that is committed now. Raises LookupError while nothing is logged."""
    feed = feed_id(connection)
    if feed is None:
        raise LookupError("no changes are logged")
    if connection.dialect.name == "postgresql":
        return f"{feed}/{connection.exec_driver_sql('SELECT pg_current_snapshot()::text').scalar()}"
    last = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'change_log'").scalar()
    return f"{feed}/{last or 0}"


def since(connection: Connection, cursor: str) -> tuple[list[Change], str] | None:
    """The distinct rows changed after `cursor`, and the cursor to ask with next.

    None when the log does not reach back to the cursor, or it is of another feed: compare everything.
    To read the rows as of the returned cursor, use a connection of `dump.snapshot`.
    """
    feed, _, mark = cursor.partition("/")
    row = connection.execute(select(change_feed.c.feed, change_feed.c.forgotten)).first()
    if row is None or row.feed != feed:
        return None
    # Before the rows: what commits in between is seen now and once more the next time.
    following = position(connection)
    query = select(change_log.c.table_name, change_log.c.row_key).distinct()
    if connection.dialect.name == "postgresql":
        xmin = int(mark.partition(":")[0])
        if xmin <= row.forgotten:
            return None
        unseen = text("NOT pg_visible_in_snapshot(xid::text::xid8, CAST(:mark AS pg_snapshot))")
        query = query.where(change_log.c.xid >= xmin, unseen.bindparams(mark=mark))
    else:
        if int(mark) < row.forgotten:
            return None
        query = query.where(change_log.c.seq > int(mark))
    changed = [Change(name, tuple(json.loads(key).items())) for name, key in connection.execute(query)]
    return changed, following


def forget(connection: Connection, older_than_seconds: float) -> int:
    """Cut the log; returns the number of entries deleted. Followers further behind compare everything."""
    old = change_log.c.at < time.time() - older_than_seconds
    mark = change_log.c.xid if connection.dialect.name == "postgresql" else change_log.c.seq
    last = connection.execute(select(func.max(mark)).where(old)).scalar()
    if last is None:
        return 0
    # Raised first, so that no reader finds the entries gone and the mark not there yet.
    connection.execute(update(change_feed).where(change_feed.c.forgotten < last).values(forgotten=last))
    return connection.execute(delete(change_log).where(old)).rowcount


def _mute(connection: Connection, on: bool) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT set_config('seawall.unlogged', :value, true)"), {"value": "on" if on else "off"}
        )
    else:
        connection.execute(update(change_feed).values(muted=on))


def _triggers(connection: Connection) -> set[str]:
    if connection.dialect.name == "postgresql":
        query = (
            "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND pg_table_is_visible(pg_class.oid)"
        )
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    return {name for name in connection.exec_driver_sql(query).scalars() if name.startswith(_PREFIX)}


def _key_columns(table: Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def _install_sqlite(connection: Connection, table: Table) -> None:
    columns = _key_columns(table)
    for operation, rows in _OPERATIONS.items():
        inserts = []
        for row in rows:
            key = "json_object(" + ", ".join(f"'{c}', {row}.\"{c}\"" for c in columns) + ")"
            changed = " OR ".join(f'OLD."{c}" IS NOT NEW."{c}"' for c in columns)
            # An update that keeps the key is one entry.
            where = f" WHERE {changed}" if operation == "update" and row == "OLD" else ""
            inserts.append(
                "INSERT INTO change_log (table_name, row_key, at) "
                f"SELECT '{table.name}', {key}, (julianday('now') - 2440587.5) * 86400.0{where};"
            )
        trigger = (
            f'CREATE TRIGGER IF NOT EXISTS "{_PREFIX}{table.name}_{operation}" '  # noqa: S608 - our own names
            f'AFTER {operation.upper()} ON "{table.name}" '
            f"WHEN NOT (SELECT muted FROM change_feed) BEGIN {' '.join(inserts)} END"
        )
        connection.exec_driver_sql(trigger)


def _install_postgresql(connection: Connection, table: Table) -> None:
    columns = _key_columns(table)

    def entry(row: str) -> str:
        key = "jsonb_build_object(" + ", ".join(f"'{c}', {row}.\"{c}\"" for c in columns) + ")"
        return (
            "INSERT INTO change_log (xid, table_name, row_key, at) VALUES "  # noqa: S608 - our own names
            f"(pg_current_xact_id()::text::bigint, '{table.name}', {key}::text, "
            "extract(epoch FROM clock_timestamp()));"
        )

    moved = " OR ".join(f'OLD."{c}" IS DISTINCT FROM NEW."{c}"' for c in columns)
    function = f"{_PREFIX}{table.name}"
    connection.exec_driver_sql(
        f'CREATE OR REPLACE FUNCTION "{function}"() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN '
        "IF coalesce(current_setting('seawall.unlogged', true), '') = 'on' THEN RETURN NULL; END IF; "
        f"IF TG_OP = 'DELETE' THEN {entry('OLD')} ELSE "
        f"IF TG_OP = 'UPDATE' AND ({moved}) THEN {entry('OLD')} END IF; {entry('NEW')} END IF; "
        "RETURN NULL; END $body$".replace("%", "%%")
    )
    for operation in _OPERATIONS:
        name = f"{function}_{operation}"
        # CREATE OR REPLACE TRIGGER came with PostgreSQL 14.
        connection.exec_driver_sql(f'DROP TRIGGER IF EXISTS "{name}" ON "{table.name}"')
        connection.exec_driver_sql(
            f'CREATE TRIGGER "{name}" AFTER {operation.upper()} ON "{table.name}" '
            f'FOR EACH ROW EXECUTE FUNCTION "{function}"()'
        )
