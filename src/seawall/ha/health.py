"""Whether this process can do its work now: database, storage, Redis.

Each part is asked at most once at a time, and an answer that takes longer than `PATIENCE` counts as a
failure: a part that hangs must neither hang the health check nor pile up threads behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from seawall.db import Database
from seawall.ha.redis import RedisClient
from seawall.storage import BlobStorage

PATIENCE = 2.0


class Health:
    """Checks of one process."""

    def __init__(self, db: Database, storage: BlobStorage, redis: RedisClient) -> None:
        self._parts: dict[str, Callable[[], Awaitable[Any]]] = {
            "database": db.check,
            "storage": storage.check,
        }
        self._redis = redis
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def check(self) -> tuple[str, dict[str, str]]:
        """(`ok`, `degraded` or `failed`; `ok` or the fault of each part).

        Without Redis everything still works, a little slower: that is `degraded`, not `failed`.
        """
        names = list(self._parts)
        results = await asyncio.gather(*(self._part(name) for name in names))
        parts = dict(zip(names, results, strict=True))
        status = "ok" if all(value == "ok" for value in results) else "failed"
        redis = await self._redis.status()
        if redis != "off":
            parts["redis"] = redis
            if status == "ok" and redis != "ok":
                status = "degraded"
        return status, parts

    async def _part(self, name: str) -> str:
        task = self._running.get(name)
        if task is None or task.done():
            task = self._running[name] = asyncio.ensure_future(self._parts[name]())
            task.add_done_callback(_seen)
        try:
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)
        except TimeoutError:
            return "does not answer"
        except OSError as error:
            return error.strerror or type(error).__name__
        except Exception as error:
            return type(error).__name__
        return "ok"


def _seen(task: asyncio.Task[Any]) -> None:
    # Nobody may be waiting any more; without this the event loop reports the exception as forgotten.
    if not task.cancelled():
        task.exception()
