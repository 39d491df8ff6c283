"""Statements that leave for PostgreSQL in one piece, and their answers.

psycopg's pipeline hands each statement to the network alone: the server wakes for each, and so does the
thread that waits. Here all of them are written at once, and then the answers are read, by libpq's own
pipeline. A statement that is built once is also compiled once (`FORMS`); after that it costs little more
than its values.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import abc, pq
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.types.numeric import Int8
from sqlalchemy import Connection, TupleType

from seawall.infra.db.forms import Change, Forms, Place, values_of

# A statement is prepared when a connection sends it for the second time; so many are kept.
_PREPARED = 200
_AUTO = [PyFormat.AUTO] * 64
_PLACE = re.compile(r"%(?:\((\w+)\)s|([s%]))")


class Sent:
    """A statement with places $1, $2 ..., and the values of each time that it is to be done.

    `rows`: its answer. `failed`: it is the one that failed; those after it have not been done.
    """

    __slots__ = ("failed", "rows", "sets", "text")

    def __init__(self, text: bytes, sets: Sequence[Sequence[Any]] = ((),)) -> None:
        self.text = text
        self.sets = sets
        self.rows: list[Any] = []
        self.failed = False


BEGIN = b"BEGIN"
COMMIT = b"COMMIT"


class Prepared:
    """The names of a connection's prepared statements, by text and types of the values."""

    def __init__(self) -> None:
        # None: seen once.
        self._names: OrderedDict[tuple[bytes, Any], bytes | None] = OrderedDict()
        self._last = 0

    def __len__(self) -> int:
        return len(self._names)

    def clear(self) -> None:
        """The server has forgotten all."""
        self._names.clear()

    def forget(self, keys: Sequence[tuple[bytes, Any]]) -> None:
        """Statements whose preparation may have failed; their names are not given again."""
        for key in keys:
            self._names.pop(key, None)

    def find(self, key: tuple[bytes, Any]) -> tuple[bytes | None, bool]:
        """The statement's name, if it has or now gets one, and whether it is to be prepared."""
        if key not in self._names:
            self._names[key] = None
            return None, False
        self._names.move_to_end(key)
        name = self._names[key]
        if name is not None:
            return name, False
        self._last += 1
        name = self._names[key] = b"seawall_%d" % self._last
        return name, True

    def surplus(self) -> Iterator[bytes]:
        """Names that are to be given up, because others were used since."""
        while len(self._names) > _PREPARED:
            name = self._names.popitem(last=False)[1]
            if name is not None:
                yield name


def exchange(connection: psycopg.Connection[Any], sent: Sequence[Sent], prepared: Prepared) -> PQGen[None]:
    """Send all statements, then read all answers. Raises the first one's error (psycopg.Error)."""
    pgconn = connection.pgconn
    transformer = Transformer(connection)
    # Before anything is sent: a value may be one that the server does not take.
    orders = [(item, *_dumped(transformer, values)) for item in sent for values in item.sets]
    new: list[tuple[bytes, Any]] = []
    answers: list[Sent | None] = []
    pgconn.enter_pipeline_mode()
    error: psycopg.Error | None = None
    try:
        for item, values, types, formats in orders:
            key = (item.text, types)
            name, missing = prepared.find(key) if item.text not in (BEGIN, COMMIT) else (None, False)
            if name is None:
                pgconn.send_query_params(item.text, values, param_types=types, param_formats=formats)
            else:
                if missing:
                    new.append(key)
                    pgconn.send_prepare(name, item.text, param_types=types)
                    answers.append(None)
                pgconn.send_query_prepared(name, values, param_formats=formats)
            answers.append(item)
        for name in prepared.surplus():
            pgconn.send_query_params(b"DEALLOCATE " + name, None)
            answers.append(None)
        pgconn.pipeline_sync()
        yield from send(pgconn)
        for answer in answers:
            (result,) = yield from fetch_many(pgconn)
            if result.status == pq.ExecStatus.TUPLES_OK:
                if answer is not None and result.ntuples:
                    transformer.set_pgresult(result)
                    answer.rows += transformer.load_rows(0, result.ntuples, tuple)
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                error = error_from_result(result)
                if answer is not None:
                    answer.failed = True
        yield from fetch_many(pgconn)
    except BaseException:
        prepared.clear()
        raise
    finally:
        if pgconn.status != pq.ConnStatus.BAD:
            pgconn.exit_pipeline_mode()
    if error is not None:
        prepared.forget(new)
        raise error


def _dumped(transformer: abc.Transformer, values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The values as they are sent, their types and formats."""
    if not values:
        return None, (), None
    # psycopg sends a number as the smallest type that holds it, and each type would be another statement.
    given = [_wide(value) for value in values]
    formats = _AUTO[: len(given)] if len(given) <= len(_AUTO) else [PyFormat.AUTO] * len(given)
    dumped = transformer.dump_sequence(given, formats)
    return dumped, tuple(transformer.types or ()), transformer.formats


def _wide(value: Any) -> Any:
    if type(value) is int:
        return Int8(value)
    if type(value) in (list, tuple, set, frozenset):
        return [_wide(item) for item in value]
    return value


# -- texts and values ----------------------------------------------------------------------------------


def of_cursor(query: Any, sets: Sequence[Any]) -> Sent:
    """A statement as a cursor gets it: places are %(name)s or %s, values a mapping or a sequence."""
    if not sets or sets[0] is None:
        return Sent(query if isinstance(query, bytes) else str(query).encode())
    text, names = _numbered(query.decode() if isinstance(query, bytes) else str(query))
    if isinstance(sets[0], Mapping):
        return Sent(text, [[values[name] for name in names] for values in sets])
    return Sent(text, [list(values) for values in sets])


@functools.lru_cache(maxsize=512)
def _numbered(query: str) -> tuple[bytes, tuple[str, ...]]:
    """`query` with numbered places, and the names of those that have one."""
    numbers: dict[str, int] = {}
    count = 0

    def place(match: re.Match[str]) -> str:
        nonlocal count
        name, other = match.groups()
        if other == "%":
            return "%"
        if name in numbers:
            return f"${numbers[name]}"
        count += 1
        if name:
            numbers[name] = count
        return f"${count}"

    text = _PLACE.sub(place, query)
    return text.encode(), tuple(numbers)


class Form:
    """A compiled statement: its text, and for each place where its value comes from."""

    __slots__ = ("_places", "text")

    def __init__(self, text: bytes, places: list[Place]) -> None:
        self.text = text
        self._places = places

    def sent(self, parameters: Any) -> Sent:
        """The statement with `parameters`, a row's or a list of them. Raises KeyError for what is missing."""
        sets = parameters if isinstance(parameters, list) else (parameters or {},)
        return Sent(self.text, [values_of(self._places, row) for row in sets])


def _compile(connection: Connection, statement: Any, keys: tuple[str, ...]) -> Form | None:
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, column_keys=list(keys))
    # What SQLAlchemy fills in when it executes: defaults computed in Python.
    if compiled.insert_prefetch or compiled.update_prefetch or compiled.escaped_bind_names:
        return None
    # A list is one value, so that lists of all lengths are one statement.
    listed = {bind: name for name, bind in compiled.binds.items() if bind in compiled.post_compile_params}
    written = compiled.string
    for bind, name in listed.items():
        one = f" IN (__[POSTCOMPILE_{name}])"
        fixed = not bind.expanding or bind in compiled.literal_execute_params
        if fixed or isinstance(bind.type, TupleType) or f"NOT{one}" in written:
            return None
        kind = bind.type.compile(dialect=dialect).partition("(")[0]
        written = written.replace(one, f" = ANY (%({name})s::{kind}[])")
    if "POSTCOMPILE" in written:
        return None
    text, names = _numbered(written)
    places: list[Place] = []
    for bind in (compiled.binds[name] for name in names):
        change = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if change is not None and bind.expanding:
            change = functools.partial(_each, change)
        places.append((bind.key, bind, change))
    return Form(text, places)


def _each(change: Change, values: Sequence[Any]) -> list[Any]:
    return [change(value) for value in values]


FORMS = Forms(_compile)
__all__ = ["BEGIN", "COMMIT", "FORMS", "Form", "Prepared", "Sent", "exchange", "of_cursor"]
