"""Harbor's list parameters: `q`, `sort`, `page`, `page_size`, and the headers of a page.

`q` is a comma-separated list of `k=v` (equal), `k=~v` (contains), `k=[min~max]` (range, either end may be
missing), `k={a b}` (any of), `k=(a b)` (all of). Values are numbers, times ("2020-04-09 02:36:00") or
strings, which may be quoted. Source: the `q` and `sort` parameters of Harbor's public API description.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import Query, Request, Response
from sqlalchemy import ColumnElement, Select, false, func

from seawall.web.harbor.errors import ApiError

PAGE_SIZE_LIMIT = 100
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
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")


def parse_q(text: str | None) -> list[Condition]:
    """The conditions of a `q` parameter. Raises ApiError 400 when it is malformed."""
    return [_condition(part) for part in _split(text or "", ",") if part.strip()]


def _split(text: str, separator: str) -> list[str]:
    """Split outside quotes and brackets."""
    parts, current, quoted, depth = [], "", "", 0
    for character in text:
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "\"'":
            quoted = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth = max(depth - 1, 0)
        elif character == separator and not depth:
            parts.append(current)
            current = ""
            continue
        current += character
    return [*parts, current]


def _condition(part: str) -> Condition:
    key, equals, value = part.strip().partition("=")
    if not equals or not _KEY.fullmatch(key.strip()):
        raise _bad(f"{part[:100]!r} is not of the form key=value")
    key, value = key.strip(), value.strip()
    if value.startswith("~"):
        return Condition(key, "fuzzy", (_unquote(value[1:]),))
    if value.startswith("["):
        low, tilde, high = value.removeprefix("[").partition("~")
        if not value.endswith("]") or not tilde:
            raise _bad(f"{key}: a range has the form [min~max]")
        return Condition(key, "range", (_unquote(low.strip()), _unquote(high.removesuffix("]").strip())))
    for opening, closing, operator in (("{", "}", "any"), ("(", ")", "all")):
        if value.startswith(opening):
            if not value.endswith(closing):
                raise _bad(f"{key}: a list has the form {opening}a b{closing}")
            items = tuple(_unquote(item) for item in _split(value[1:-1], " ") if item)
            return Condition(key, "any" if operator == "any" else "all", items)
    return Condition(key, "eq", (_unquote(value),))


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _bad(message: str) -> ApiError:
    return ApiError(400, f"invalid query: {message}")


def _typed(field_: Field, value: str) -> Any:
    if field_.kind == "int":
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise _bad(f"{value[:50]!r} is not a number")
        return int(value)
    if field_.kind == "bool":
        if value.lower() not in ("true", "false", "1", "0"):
            raise _bad(f"{value[:50]!r} is neither true nor false")
        return value.lower() in ("true", "1")
    if field_.kind == "time":
        return parse_time(value)
    return value


def parse_time(value: str) -> float:
    """Unix seconds of a time in `q`, UTC when it names no zone. Raises ApiError 400."""
    if re.fullmatch(r"\d{1,11}(\.\d+)?", value):
        return float(value)
    try:
        # A plus sign in a query string arrives as a space.
        parsed = datetime.datetime.fromisoformat(
            re.sub(r" (\d\d:\d\d)$", r"+\1", value, count=1) if re.search(r"T.* \d\d:\d\d$", value) else value
        )
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _bad(f"{value[:50]!r} is not a time like 2020-04-09 02:36:00") from None


def contains(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """`column` contains `text`, literally, whatever the case."""
    escaped = re.sub(r"([\\%_])", r"\\\1", text.lower())
    return func.lower(column).like(f"%{escaped}%", escape="\\")


def _expression(field_: Field, condition: Condition) -> ColumnElement[bool]:
    column = field_.column
    if condition.operator == "eq":
        equal: ColumnElement[bool] = column == _typed(field_, condition.value)
        return equal
    if condition.operator == "fuzzy":
        if field_.kind != "text":
            raise _bad(f"{condition.key} cannot be matched with ~")
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
class Listing:
    """The list parameters of a request, and the answer's headers. Get it as a `ListingDep`."""

    request: Request
    response: Response
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

    def filter(self, query: Select[Any], fields: Mapping[str, Field | Custom]) -> Select[Any]:
        """`query` with the conditions on `fields`; unknown keys are left out, as in Harbor."""
        for condition in self.conditions:
            known = fields.get(condition.key)
            if isinstance(known, Field):
                query = query.where(_expression(known, condition))
            elif known is not None:
                query = query.where(known(condition))
        return query

    def order(
        self, query: Select[Any], fields: Mapping[str, Field | Custom], *default: ColumnElement[Any]
    ) -> Select[Any]:
        """`query` sorted as asked, then by `default`, which breaks ties so that pages are stable."""
        for key, descending in self.sort:
            known = fields.get(key)
            if isinstance(known, Field):
                query = query.order_by(known.column.desc() if descending else known.column.asc())
        return query.order_by(*default)

    def slice(self, query: Select[Any]) -> Select[Any]:
        """`query` cut to this page."""
        return query.limit(self.size).offset(self.offset)

    def total(self, total: int, after: str | None = None) -> None:
        """Set `X-Total-Count` and `Link` of the answer.

        `after` goes into the link to the next page: a keyset list goes on from there in constant time,
        where by page number it would have to walk.
        """
        self.response.headers["X-Total-Count"] = str(total)
        links = []
        if self.page > 1 and total > 0:
            links.append(self._link(min(self.page - 1, max(-(-total // self.size), 1)), "prev"))
        if self.page * self.size < total:
            links.append(self._link(self.page + 1, "next", after))
        if links:
            self.response.headers["Link"] = " , ".join(links)

    def _link(self, page: int, relation: str, after: str | None = None) -> str:
        own = ("page", "page_size", "after")
        query = [(k, v) for k, v in self.request.query_params.multi_items() if k not in own]
        query += [("page", str(page)), ("page_size", str(self.size))]
        if after is not None:
            query.append(("after", after))
        return f'<{quote(self.request.url.path, safe="/%")}?{urlencode(query)}>; rel="{relation}"'


async def listing(
    request: Request,
    response: Response,
    q: Annotated[str | None, Query(max_length=4096)] = None,
    sort: Annotated[str | None, Query(max_length=512)] = None,
    page: Annotated[int, Query(ge=1, le=2**40)] = 1,
    page_size: Annotated[int, Query(ge=0, le=PAGE_SIZE_LIMIT)] = 10,
) -> Listing:
    """The list parameters. A `page_size` of 0 means the largest page."""
    order = []
    for part in (sort or "").split(","):
        key = part.strip().removeprefix("-")
        if key:
            if not _KEY.fullmatch(key):
                raise ApiError(400, f"invalid sort: {part[:100]!r}")
            order.append((key, part.strip().startswith("-")))
    return Listing(request, response, page, page_size or PAGE_SIZE_LIMIT, parse_q(q), order)
