"""What SQLite and PostgreSQL say differently, said once: upserts, the clock, sequences, deferred keys.

Nothing outside of `seawall.infra.db` asks which of the two it talks to.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    Table,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection | str,
    table: Table,
    values: Mapping[str, Any],
    key: str | Collection[str],
    changes: Collection[str] | Mapping[str, Any] | None = None,
    *,
    when: ColumnElement[bool] | None = None,
) -> Any:
    """The statement that inserts `values`, or changes the row that has their `key` already.

    `key` names the columns of a unique constraint. `changes`: columns that take their new value from
    `values`, or a mapping of columns to other values; None or empty leaves the row that is there as it is.
    `when`: change the row only where this holds. The statement is an Insert: it may get a `returning`.
    `connection` may be the name of its dialect, for a statement that is built once.
    """
    dialect = _dialect(connection)
    statement = dialect.insert(table).values(dict(values))
    keys = [key] if isinstance(key, str) else list(key)
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=keys)
    if not isinstance(changes, Mapping):
        changes = {name: statement.excluded[name] for name in changes}
    return statement.on_conflict_do_update(index_elements=keys, set_=dict(changes), where=when)


def upsert_many(
    connection: Connection, table: Table, key: str | Collection[str], changes: Collection[str] = ()
) -> Any:
    """`upsert` of a list of rows that is given to `execute`: a statement for many rows at once.

    It returns the key's columns, without which each row would be a statement of its own. No two of the rows
    may have the same key.
    """
    statement = _dialect(connection).insert(table)
    keys = [key] if isinstance(key, str) else list(key)
    if changes:
        taken = {name: statement.excluded[name] for name in changes}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=taken)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    return statement.returning(*(table.c[name] for name in keys))


def add_all(
    dialect: str, table: Table, key: tuple[str, ...], rows: Sequence[Mapping[str, Any]]
) -> tuple[Any, Any]:
    """The statement that inserts rows unless there are some with their `key`, and its parameters.

    The rows must have all columns. On PostgreSQL their values go as lists, one for each column, so that any
    number of rows is one statement, always the same.
    """
    statement = _adding(dialect, table, key)
    names = [column.name for column in table.columns]
    if dialect == "sqlite":
        return statement, [{f"b_{name}": row[name] for name in names} for row in rows]
    return statement, {f"b_{name}": [row[name] for row in rows] for name in names}


@functools.cache
def _adding(dialect: str, table: Table, key: tuple[str, ...]) -> Any:
    names = [column.name for column in table.columns]
    if dialect == "sqlite":
        values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in names}
        return sqlite.insert(table).values(values).on_conflict_do_nothing(index_elements=key)
    lists = [bindparam(f"b_{name}", type_=postgresql.ARRAY(table.c[name].type)) for name in names]
    given = func.unnest(*lists).table_valued(*names, name="given").render_derived()
    statement = postgresql.insert(table).from_select(names, select(*given.c), include_defaults=False)
    return statement.on_conflict_do_nothing(index_elements=key)


def dialect_of(connection: Connection) -> str:
    """The name under which a statement that is built once is remembered for this connection's database."""
    return connection.dialect.name


def _dialect(connection: Connection | str) -> Any:
    name = connection if isinstance(connection, str) else connection.dialect.name
    return sqlite if name == "sqlite" else postgresql


def added(connection: Connection, table: Table, values: Mapping[str, Any], key: str) -> bool:
    """Insert a row unless there is one with its `key`; whether it was inserted.

    On PostgreSQL the count of rows of an INSERT is not known (-1) where it returns none.
    """
    column: ColumnElement[Any] = table.c[key]
    return connection.execute(upsert(connection, table, values, key).returning(column)).first() is not None


def upsert_from(
    connection: Connection | str,
    table: Table,
    columns: list[str],
    query: Select[Any],
    key: Collection[str],
    changes: Mapping[str, Any],
) -> Any:
    """`upsert` of the rows of `query`, which gives the values of `columns`."""
    statement = _dialect(connection).insert(table).from_select(columns, query, include_defaults=False)
    return statement.on_conflict_do_update(index_elements=list(key), set_=dict(changes))


def next_id(connection: Connection | str, table: Table) -> Select[Any]:
    """A query that gives a row of the table its id; on SQLite within a writing transaction."""
    identity = table.autoincrement_column
    assert identity is not None
    if _dialect(connection) is sqlite:
        return select(func.coalesce(func.max(identity), 0) + 1)
    return select(func.nextval(func.pg_get_serial_sequence(table.name, identity.name)))


def lock_writers(connection: Connection, table: Table) -> None:
    """PostgreSQL: wait for the transactions that have written to the table, hold up others until commit."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f'LOCK TABLE "{table.name}" IN SHARE ROW EXCLUSIVE MODE')


def is_embedded(connection: Connection) -> bool:
    """Whether the database is a file of this host (SQLite), not a server."""
    return connection.dialect.name == "sqlite"


def now(connection: Connection) -> float:
    """The time (Unix seconds) by the clock all instances share: the database's, or SQLite's host's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


def clock(connection: Connection, *, began: bool = False) -> ColumnElement[float]:
    """`now` as an expression for statements; `began`: as the transaction began, before any wait for locks."""
    if connection.dialect.name == "sqlite":
        return literal(time.time())
    return cast(func.extract("epoch", func.now() if began else func.clock_timestamp()), Float)


def defer_foreign_keys(connection: Connection) -> None:
    """SQLite: check foreign keys when the transaction ends, not with each statement."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")


def lock_all(connection: Connection, tables: Iterable[str]) -> None:
    """Keep everybody else from these tables, readers too (SQLite: writers), until the transaction ends."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(connection.dialect.identifier_preparer.quote(name) for name in sorted(tables))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
    else:
        # The first statement that may write takes the database's one lock.
        connection.exec_driver_sql("DELETE FROM alembic_version WHERE 0")


def allow_long(connection: Connection) -> None:
    """PostgreSQL: this transaction may take as long as it needs, in work and between statements."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
        )


def advance_sequences(connection: Connection, tables: Iterable[Table]) -> None:
    """PostgreSQL: new ids come after those of the rows that were written with their ids; never go back."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        identity = table.autoincrement_column
        if identity is None:
            continue
        highest = connection.execute(select(func.max(identity))).scalar()
        if highest is not None:
            connection.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence(:table, :column), GREATEST(:value, "
                    "nextval(pg_get_serial_sequence(:table, :column))))"
                ),
                {"table": table.name, "column": identity.name, "value": highest},
            )
