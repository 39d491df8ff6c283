"""Pages of lists: conditions, order and slice of a request, applied to the query of the owner of the rows.

The HTTP layer parses a request's parameters into a Page; an owner says which columns may be filtered and
sorted by (`Field`) and gets one page of rows with `Page.fetch`. The operators are those of Harbor's `q`.
"""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, false, func, select

from seawall.kernel.errors import InvalidError

Operator = Literal["eq", "fuzzy", "range", "any", "all"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of `q`. `values` has one item for eq and fuzzy, (min, max) for range ("" is open)."""

    key: str
    operator: Operator
    values: tuple[str, ...]

    @property
    def value(self) -> str:
        """The only value of eq and fuzzy."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Field:
    """A column that may be filtered and sorted by."""

    column: ColumnElement[Any]
    kind: Literal["text", "int", "time", "bool"] = "text"


Custom = Callable[[Condition], ColumnElement[bool]]
Fields = Mapping[str, Field | Custom]


def bad_query(message: str) -> InvalidError:
    """The error to raise for conditions that make no sense."""
    return InvalidError(f"invalid query: {message}")


def _typed(field_: Field, value: str) -> Any:
    if field_.kind == "int":
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise bad_query(f"{value[:50]!r} is not a number")
        return int(value)
    if field_.kind == "bool":
        if value.lower() not in ("true", "false", "1", "0"):
            raise bad_query(f"{value[:50]!r} is neither true nor false")
        return value.lower() in ("true", "1")
    if field_.kind == "time":
        return parse_time(value)
    return value


def parse_time(value: str) -> float:
    """Unix seconds of a time in `q`, UTC when it names no zone. Raises InvalidError."""
    if re.fullmatch(r"\d{1,11}(\.\d+)?", value):
        return float(value)
    try:
        # A plus sign in a query string arrives as a space.
        parsed = datetime.datetime.fromisoformat(
            re.sub(r" (\d\d:\d\d)$", r"+\1", value, count=1) if re.search(r"T.* \d\d:\d\d$", value) else value
        )
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise bad_query(f"{value[:50]!r} is not a time like 2020-04-09 02:36:00") from None


_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def contains(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """`column` contains `text`, literally, whatever the case of ASCII letters.

    Only those are lowered on both sides: SQLite's `lower` knows no others, nor does PostgreSQL's under "C".
    """
    escaped = re.sub(r"([\\%_])", r"\\\1", text.translate(_LOWER))
    return func.lower(column).like(f"%{escaped}%", escape="\\")


def _expression(field_: Field, condition: Condition) -> ColumnElement[bool]:
    column = field_.column
    if condition.operator == "eq":
        equal: ColumnElement[bool] = column == _typed(field_, condition.value)
        return equal
    if condition.operator == "fuzzy":
        if field_.kind != "text":
            raise bad_query(f"{condition.key} cannot be matched with ~")
        return contains(column, condition.value)
    if condition.operator == "range":
        result: list[ColumnElement[bool]] = []
        low, high = condition.values
        if low:
            result.append(column >= _typed(field_, low))
        if high:
            result.append(column <= _typed(field_, high))
        return result[0] & result[1] if len(result) == 2 else result[0] if result else column.is_not(None)
    values = [_typed(field_, value) for value in condition.values]
    # A column has one value, so "all of" several different ones matches nothing.
    if condition.operator == "all" and len(set(values)) > 1:
        return false()
    return column.in_(values)


@dataclass(slots=True)
class Page:
    """Which part of a list is wanted, in which order. `page` counts from 1, `size` is the rows of a page."""

    page: int
    size: int
    conditions: list[Condition]
    sort: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.size

    def condition(self, key: str) -> Condition | None:
        """The first condition on `key`."""
        return next((item for item in self.conditions if item.key == key), None)

    def filter(self, query: Select[Any], fields: Fields) -> Select[Any]:
        """`query` with the conditions on `fields`; unknown keys are left out, as in Harbor."""
        for condition in self.conditions:
            known = fields.get(condition.key)
            if isinstance(known, Field):
                query = query.where(_expression(known, condition))
            elif known is not None:
                query = query.where(known(condition))
        return query

    def order(self, query: Select[Any], fields: Fields, *default: ColumnElement[Any]) -> Select[Any]:
        """`query` sorted as asked, then by `default`, which breaks ties so that pages are stable."""
        for key, descending in self.sort:
            known = fields.get(key)
            if isinstance(known, Field):
                query = query.order_by(known.column.desc() if descending else known.column.asc())
        return query.order_by(*default)

    def slice(self, query: Select[Any]) -> Select[Any]:
        """`query` cut to this page."""
        return query.limit(self.size).offset(self.offset)

    def fetch(
        self,
        connection: Connection,
        query: Select[Any],
        fields: Fields,
        *default: ColumnElement[Any],
        key: ColumnElement[Any] | None = None,
    ) -> tuple[int, list[Any]]:
        """How many rows the conditions leave, and those of this page; `key` is a cheaper column to count."""
        query = self.filter(query, fields)
        counted = query if key is None else query.with_only_columns(key)
        total = connection.execute(select(func.count()).select_from(counted.subquery())).scalar_one()
        return int(total), list(connection.execute(self.slice(self.order(query, fields, *default))))
