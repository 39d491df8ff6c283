"""Point reads of content, remembered where the database says cheaply whether anything has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from seawall.infra.db import Database

T = TypeVar("T")
_ENTRIES = 4096


class PointReads:
    """Look-ups of single things, remembered for as long as the database's change token stays the same."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._cache: OrderedDict[tuple[Any, ...], tuple[int, Any]] = OrderedDict()

    async def get(
        self,
        key: tuple[Any, ...],
        fn: Callable[[Connection], T | None],
        together: Callable[[], Awaitable[T | None]] | None = None,
    ) -> T | None:
        """What `fn` finds, from memory when nothing was committed since it was found.

        `together`: asks for the same in its place, along with other requests, where nothing is remembered.

        Only things that exist are remembered, so a flood of wrong names cannot push them out.
        """
        token = self._db.change_token()
        if token is None:
            return await (self._db.point(fn) if together is None else together())
        hit = self._cache.get(key)
        if hit is not None and hit[0] == token:
            return hit[1]  # type: ignore[no-any-return]
        # The token was read before the data, so a commit in between makes the entry stale, not wrong.
        value = await self._db.point(fn)
        if value is not None:
            self._cache[key] = (token, value)
            if len(self._cache) > _ENTRIES:
                self._cache.popitem(last=False)
        return value
