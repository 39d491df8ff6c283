"""Statements that go to the server together, so that a transaction costs few round trips.

A round trip to a PostgreSQL in another zone takes longer than most statements, and whatever a transaction has
locked stays locked meanwhile. So:

* `many` sends several statements whose answers are wanted now, and waits once.
* `later` keeps a statement for the end of the transaction. There all that is kept goes out with COMMIT, and
  is waited for once; what is kept as `last` comes after the rest, so that its locks are held for no more than
  the commit. Nobody sees its effect before, not even the same transaction, unless `flush` is called.

SQLite is in this process. There, and in transactions that are not `Database.write`'s, `many` asks one after
the other and `later` does it at once.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Executable, Integer, cast, func, literal, select
from sqlalchemy.exc import DBAPIError

from seawall.infra.db import quick
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import psycopg

    from seawall.infra.db.burst import Sent
    from seawall.infra.db.watched import WatchedConnection
else:
    psycopg = optional("psycopg")

# Where a connection's `info` has what its transaction keeps for its end.
_KEPT = "later"
# What `_demanded` ends with when its statement changed no row: division by zero.
_NOTHING = "22012"


class Later:
    """A statement that is kept for the end of a transaction; `rows` are its answer once that has come.

    They stay None where the connection broke during COMMIT: the transaction has happened without its answers.
    """

    __slots__ = ("last", "otherwise", "parameters", "rows", "statement")

    def __init__(
        self,
        statement: Executable,
        parameters: Any = None,
        last: bool = False,
        otherwise: Exception | None = None,
    ) -> None:
        self.statement = statement
        self.parameters = parameters
        self.last = last
        self.otherwise = otherwise
        self.rows: list[Any] | None = None


# A statement with its parameters. Building a statement takes longer than sending it, so those of every push
# are built once, with `bindparam`.
Asked = tuple[Executable, Mapping[str, Any]]


def many(connection: Connection, *asked: Asked) -> list[list[Any]]:
    """The rows of each statement, in order; PostgreSQL is waited for once.

    A statement without rows gives an empty list. Rows are tuples in the order of the columns.
    """
    raw = _raw(connection)
    if raw is None or len(asked) < 2:
        return [_at_once(connection, statement, parameters) for statement, parameters in asked]
    with _gathering(connection, raw) as sent:
        for statement, parameters in asked:
            _add(connection, sent, statement, parameters)
    return [item.rows for item in sent]


def rows(connection: Connection, statement: Executable, parameters: Any = None) -> list[Any]:
    """The rows of a statement that is built once, now; `execute` takes several times as long on SQLite."""
    return _at_once(connection, statement, parameters)


def changed(connection: Connection, statement: Executable, parameters: Any = None) -> int:
    """Do a statement that is built once, now; how many rows it has changed."""
    done = quick.do(connection, statement, parameters) if _embedded(connection) else None
    return connection.execute(statement, parameters).rowcount if done is None else done.count


def waits(connection: Connection) -> bool:
    """Whether the database is asked over a network: what is asked with other questions costs less there."""
    return connection.dialect.name == "postgresql"


def keeps(connection: Connection) -> bool:
    """Whether `later` keeps statements of this transaction, so that nothing may be made of their answers."""
    return _KEPT in connection.info


def later(
    connection: Connection,
    statement: Any,
    parameters: Any = None,
    *,
    last: bool = False,
    otherwise: Exception | None = None,
) -> Later:
    """Do `statement` at the end of the transaction, before what is `last`.

    `parameters`: a row's, or a list of them. `otherwise`: raised, and nothing committed, when the statement
    changes no row; it must be an INSERT, UPDATE or DELETE without RETURNING, or a SELECT of one number, which
    says how many were.
    """
    if statement.is_insert:
        statement = _inlined(statement)
    item = Later(statement, parameters, last, otherwise)
    if keeps(connection):
        connection.info[_KEPT].append(item)
    elif otherwise is None:
        item.rows = _at_once(connection, statement, parameters)
    else:
        done = quick.do(connection, statement, parameters) if _embedded(connection) else None
        if done is not None:
            number = done.rows[0][0] if done.rows else done.count
        else:
            result = connection.execute(statement, parameters)
            number = result.scalar() if result.returns_rows else result.rowcount
        if not number:
            raise otherwise
    return item


def flush(connection: Connection) -> None:
    """Do now what is kept, except for what is `last`: somebody wants to see it."""
    if not keeps(connection):
        return
    kept: list[Later] = connection.info[_KEPT]
    now = [item for item in kept if not item.last]
    kept[:] = [item for item in kept if item.last]
    raw = _raw(connection)
    assert raw is not None
    if now:
        send(connection, raw, now)


@contextlib.contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """`Connection.begin_nested`, which also drops what was kept since when it is rolled back."""
    kept: list[Later] | None = connection.info.get(_KEPT)
    before = len(kept) if kept is not None else 0
    try:
        with connection.begin_nested():
            yield
    except BaseException:
        if kept is not None:
            del kept[before:]
        raise


# -- for infra.db.postgres -----------------------------------------------------------------------------


def begin(info: dict[Any, Any]) -> None:
    """Keep what the transaction says `later`; `info` is that of its connection."""
    info[_KEPT] = []


def end(info: dict[Any, Any]) -> list[Later]:
    """What the transaction has kept, in the order in which it is to be done."""
    kept: list[Later] = info.pop(_KEPT, [])
    return sorted(kept, key=lambda item: item.last)


def send(
    connection: Connection, raw: WatchedConnection, items: Sequence[Later], *, commit: bool = False
) -> None:
    """Do `items`, and commit, in one round trip. Raises the `otherwise` of one that changed no row."""
    sent: list[Sent] = []
    try:
        with _gathering(connection, raw) as sent:
            for item in items:
                statement = item.statement if item.otherwise is None else _demanded(item.statement)
                _add(connection, sent, statement, item.parameters)
            if commit:
                raw.commit_too()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _NOTHING:
            for item, done in zip(items, sent, strict=False):
                if item.otherwise is not None and done.failed:
                    raise item.otherwise from None
        raise
    for item, done in zip(items, sent, strict=True):
        item.rows = done.rows


def _add(connection: Connection, sent: list[Sent], statement: Any, parameters: Any) -> None:
    """Add a statement to those that are gathered."""
    from seawall.infra.db.burst import FORMS

    form = FORMS.get(connection, statement, parameters)
    if form is not None:
        sent.append(form.sent(parameters))
    else:
        connection.execute(statement, parameters)


@contextlib.contextmanager
def _gathering(connection: Connection, raw: WatchedConnection) -> Iterator[list[Sent]]:
    """`raw.gathering()`, whose errors are SQLAlchemy's: they come when the block ends."""
    try:
        with raw.gathering() as sent:
            yield sent
    except psycopg.Error as error:
        lost = bool(raw.closed or raw.broken)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error


@functools.lru_cache(maxsize=256)
def _inlined(statement: Any) -> Any:
    """An INSERT that does not ask for the id that its row gets."""
    return statement.inline()


@functools.lru_cache(maxsize=256)
def _demanded(statement: Any) -> Executable:
    """`statement` as one that fails when it changes no row."""
    if statement.is_select:
        count: Any = statement.scalar_subquery()
    else:
        done = statement.returning(literal(1).label("one")).cte("done")
        count = select(func.count()).select_from(done).scalar_subquery()
    return select(literal(1, Integer) // cast(count, Integer))


def _embedded(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _at_once(connection: Connection, statement: Executable, parameters: Any) -> list[Any]:
    done = quick.do(connection, statement, parameters) if _embedded(connection) else None
    if done is not None:
        return done.rows
    result = connection.execute(statement, parameters)
    return [tuple(row) for row in result] if result.returns_rows else []


def _raw(connection: Connection) -> WatchedConnection | None:
    if connection.dialect.name != "postgresql":
        return None
    # Not above: SQLite alone does without psycopg.
    from seawall.infra.db.watched import WatchedConnection

    found = connection.connection.dbapi_connection
    return found if isinstance(found, WatchedConnection) else None


__all__ = [
    "Asked",
    "Later",
    "begin",
    "changed",
    "end",
    "flush",
    "keeps",
    "later",
    "many",
    "rows",
    "savepoint",
    "send",
    "waits",
]
