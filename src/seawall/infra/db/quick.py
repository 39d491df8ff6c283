"""Statements on SQLite that are built once, handed to the driver as they are.

SQLite answers a small statement in some microseconds; SQLAlchemy takes a hundred for it, and a push has
fifty. A statement that is met again is compiled once here. After that it costs little more than its values.
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, TextClause, TupleType
from sqlalchemy.exc import DBAPIError

from seawall.infra.db import meters
from seawall.infra.db.faults import without_constraint
from seawall.infra.db.forms import Change, Forms, Place, values_of


class Done:
    """What a statement gave: its rows (tuples in the order of the columns), and how many it changed."""

    __slots__ = ("count", "rows")

    def __init__(self, rows: list[Any], count: int) -> None:
        self.rows = rows
        self.count = count


class _Form:
    """A compiled statement."""

    __slots__ = ("changes", "kind", "places", "returns", "text")

    def __init__(
        self,
        text: str,
        places: list[Place],
        changes: list[tuple[int, Change]],
        *,
        returns: bool,
    ) -> None:
        """`places`: for each `?` the parameter, and what makes its value one of the driver's.

        `changes`: columns, by number, whose values the driver does not give as they are meant. `returns`:
        whether there are rows.
        """
        self.returns = returns
        self.text = text
        self.places = places
        self.changes = changes
        self.kind = meters.kind_of(text)

    def changed(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row as it is meant."""
        whole = list(row)
        for number, change in self.changes:
            whole[number] = change(whole[number])
        return tuple(whole)


def do(connection: Connection, statement: Any, parameters: Any) -> Done | None:
    """Do a statement that was met before; None: SQLAlchemy is to do it.

    `parameters`: a row's, or a list of them. Raises DBAPIError.
    """
    # A transaction begins with what SQLAlchemy does first.
    if not connection.in_transaction():
        return None
    form = FORMS.get(connection, statement, parameters)
    if form is None or (form.returns and isinstance(parameters, list)):
        return None
    raw: Any = connection.connection.dbapi_connection
    started = time.perf_counter()
    try:
        if isinstance(parameters, list):
            cursor = raw.executemany(form.text, [values_of(form.places, row) for row in parameters])
            rows = []
        else:
            cursor = raw.execute(form.text, values_of(form.places, parameters or {}))
            rows = cursor.fetchall()
    except sqlite3.Error as error:
        raise _wrapped(connection, form.text, error) from error
    if form.kind is not None:
        meters.STATEMENTS.observe(time.perf_counter() - started, form.kind)
    if form.changes:
        rows = [form.changed(row) for row in rows]
    return Done(rows, cursor.rowcount)


def _wrapped(connection: Connection, text: str, error: sqlite3.Error) -> BaseException:
    found = DBAPIError.instance(text, None, error, sqlite3.Error, dialect=connection.dialect)
    return without_constraint(found) or found


def _compile(connection: Connection, statement: Any, keys: tuple[str, ...]) -> _Form | None:
    if isinstance(statement, TextClause):
        # Its columns have no types.
        return None
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    # What SQLAlchemy fills in when it executes: defaults computed in Python.
    if compiled.insert_prefetch or compiled.update_prefetch or compiled.escaped_bind_names:
        return None
    text, listed = compiled.string, set()
    for bind in compiled.post_compile_params:
        one = f" IN (__[POSTCOMPILE_{compiled.bind_names[bind]}])"
        fixed = not bind.expanding or bind in compiled.literal_execute_params
        if fixed or isinstance(bind.type, TupleType) or f"NOT{one}" in text:
            return None
        # A list is one value, so that lists of all lengths are one statement.
        text = text.replace(one, " IN (SELECT value FROM json_each(?))")
        listed.add(bind)
    if "POSTCOMPILE" in text:
        return None
    places: list[Place] = []
    for name in compiled.positiontup or ():
        bind = compiled.binds[name]
        change = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind in listed:
            if change is not None:
                return None
            change = _as_json
        places.append((bind.key, bind, change))
    if text.count("?") != len(places):
        return None
    changes = []
    # What SQLAlchemy itself goes by. To ask the statement would have its copies remember the columns, also
    # those that are given a `returning`.
    columns = compiled._result_columns
    for number, column in enumerate(columns):
        change = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if change is not None:
            changes.append((number, change))
    return _Form(text, places, changes, returns=bool(columns))


FORMS = Forms(_compile)


def _as_json(values: Any) -> str:
    return json.dumps(list(values))


__all__ = ["FORMS", "Done", "do"]
