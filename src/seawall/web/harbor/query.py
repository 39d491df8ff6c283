"""Harbor's list parameters: `q`, `sort`, `page`, `page_size`, and the headers of a page.

`q` is a comma-separated list of `k=v` (equal), `k=~v` (contains), `k=[min~max]` (range, either end may be
missing), `k={a b}` (any of), `k=(a b)` (all of). Values are numbers, times ("2020-04-09 02:36:00") or
strings, which may be quoted; a backslash before the first character makes a plain value of what would be one
of those forms. Keys may be written as fields of Harbor's code are: `CreationTime` is `creation_time`. Source:
the `q` and `sort` parameters of Harbor's public API description.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote, unquote_plus, urlencode

from fastapi import Query, Request, Response

from seawall.infra.db.listing import Condition, Page, bad_query
from seawall.web.harbor.errors import ApiError

PAGE_SIZE_LIMIT = 100
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
# Between the words of a name like ProjectID or CVEAllowlist.
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def parse_q(text: str | None) -> list[Condition]:
    """The conditions of a `q` parameter, encoded once more or not. Raises InvalidError when malformed."""
    text = _decoded(text or "")
    if "\0" in text:
        raise bad_query("NUL characters are not allowed")
    return [_condition(part) for part in _split(text, ",") if part.strip()]


def _decoded(text: str) -> str:
    # Harbor decodes `q` once more, and its clients count on that. Without a "=" the whole is encoded once
    # more, and "+" may be a space; else a "+" is one, as in the name of an account.
    try:
        return unquote(text, errors="strict") if "=" in text else unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        return text


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


def _snake(key: str) -> str:
    return _WORDS.sub("_", key).lower()


def _condition(part: str) -> Condition:
    key, equals, value = part.strip().partition("=")
    key, value = key.strip(), value.strip()
    # A value that a script left empty must not match everything.
    if not equals or not _KEY.fullmatch(key) or value in ("", "~"):
        raise bad_query(f"{part[:100]!r} is not of the form key=value")
    key = _snake(key)
    if value.startswith("\\"):
        return Condition(key, "eq", (value[1:],))
    if value.startswith("~"):
        return Condition(key, "fuzzy", (_unquote(value[1:]),))
    if value.startswith("["):
        low, tilde, high = value.removeprefix("[").partition("~")
        ends = _unquote(low.strip()), _unquote(high.removesuffix("]").strip())
        if not value.endswith("]") or not tilde or not any(ends):
            raise bad_query(f"{key}: a range has the form [min~max]")
        return Condition(key, "range", ends)
    for opening, closing, operator in (("{", "}", "any"), ("(", ")", "all")):
        if value.startswith(opening):
            if not value.endswith(closing):
                raise bad_query(f"{key}: a list has the form {opening}a b{closing}")
            items = tuple(_unquote(item) for item in _split(value[1:-1], " ") if item)
            return Condition(key, "any" if operator == "any" else "all", items)
    return Condition(key, "eq", (_unquote(value),))


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


@dataclass(slots=True, kw_only=True)
class Listing(Page):
    """The list parameters of a request, and the answer's headers. Get it as a `ListingDep`."""

    request: Request
    response: Response

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
    page: Annotated[int, Query(ge=-(2**40), le=2**40)] = 1,
    page_size: Annotated[int, Query(ge=-(2**40), le=PAGE_SIZE_LIMIT)] = 10,
) -> Listing:
    """The list parameters. Below 1, `page_size` means the largest page and `page` the first, as in Harbor."""
    order = []
    for part in (sort or "").split(","):
        key = part.strip().removeprefix("-")
        if key:
            if not _KEY.fullmatch(key):
                raise ApiError(400, f"invalid sort: {part[:100]!r}")
            order.append((_snake(key), part.strip().startswith("-")))
    return Listing(
        request=request,
        response=response,
        page=max(page, 1),
        size=page_size if page_size > 0 else PAGE_SIZE_LIMIT,
        conditions=parse_q(q),
        sort=order,
    )
