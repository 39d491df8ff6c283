"""Whether this process can do its work now: database, storage, Redis.

Each part is asked at most once at a time, and an answer that takes longer than `PATIENCE` counts as a
failure: a part that hangs must neither hang the health check nor pile up threads behind it.

A fault makes the instance unready only when it lasts: a failover of the database hits every instance alike,
and requests wait for its end. If all of them called themselves unready at once, the balancer would have
nobody left to send a request to, and clients would see errors where now they see a pause.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seawall.infra.db import Database
from seawall.infra.redis import RedisClient
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import WritesRefusedError

PATIENCE = 1.5
# An answer is good for this long (seconds): a balancer asks often, and asking S3 costs money.
_GOOD = {"database": 0.5, "storage": 2.0, "jobs": 2.0, "peers": 1.0}
# No job runner for this long (seconds) is a fault; one that starts, or takes over, needs less.
RUNNER_SECONDS = 30.0
# Names a file that is there from SIGTERM on, for the server processes to see.
DRAIN_VARIABLE = "SEAWALL_DRAIN_FILE"


async def _always() -> bool:
    return True


async def _nobody() -> list[str]:
    return []


class Health:
    """Checks of one process."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        redis: RedisClient,
        *,
        runners: Callable[[], Awaitable[bool]] = _always,
        peers_away: Callable[[], Awaitable[list[str]]] = _nobody,
        unready_seconds: float = 0,
    ) -> None:
        """`unready_seconds`: how long a fault must last to make the instance unready.

        `runners`: whether a job runner of the cluster lives, or none is needed. `peers_away`: the addresses
        of peers that did not answer the last time.
        """
        self._runners = runners
        self._peers_away = peers_away
        self._away: list[str] = []
        self._worked = time.monotonic()
        self._patience = unready_seconds
        self._well: dict[str, float] = {}
        drain = os.environ.get(DRAIN_VARIABLE)
        # Whether this instance is asked to stop.
        self.draining: Callable[[], bool] = Path(drain).exists if drain else bool
        self._asked: dict[str, float] = {}
        self._parts: dict[str, Callable[[], Awaitable[Any]]] = {
            "database": db.check,
            "storage": storage.check,
            "jobs": self._ask_runners,
            "peers": self._ask_peers,
        }
        # Parts that can be read and take no writes.
        self._readable: set[str] = set()
        # Why the storage is not the one that the database speaks of; "" where nothing says so.
        self.wrong_storage = ""
        self._redis = redis
        self._writing = db.writing
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def check(self) -> tuple[str, dict[str, str]]:
        """(`ok`, `degraded`, `draining` or `failed`; `ok` or the fault of each part).

        `degraded`: everything works, but more slowly (no Redis), only reading works (`writes` says why),
        nobody does background work (`jobs`), a peer is away (`peers`: what is acknowledged there meanwhile is
        not here), or a fault is too new to tell. An instance that is `draining`
        or `failed` should get no new requests.
        """
        names = ("database", "storage", "jobs", "peers")
        # All at once: a balancer waits for all of it no longer than for the slowest.
        redis, *results = await asyncio.gather(self._redis.status(), *(self._part(name) for name in names))
        answers = dict(zip(names, results, strict=True))
        parts = {name: answers[name] for name in ("database", "storage")}
        now = time.monotonic()
        status = "ok"
        for name, value in parts.items():
            if value == "ok" or name in self._readable:
                # When it was asked, not now: the answer may be one that is kept for a while.
                self._well[name] = self._asked[name]
            elif name not in self._well or now - self._well[name] >= self._patience:
                status = "failed"
            elif status == "ok":
                status = "degraded"
        if self._readable and status == "ok":
            status = "degraded"
        if self.wrong_storage:
            # Does not pass by itself, and what is pushed meanwhile is lost to everybody else.
            parts["storage"], status = self.wrong_storage, "failed"
        # Reading goes on where only writing fails, so this makes no instance unready.
        if (writing := self._writing()) != "ok":
            parts["writes"] = writing
            if status == "ok":
                status = "degraded"
        if redis != "off":
            parts["redis"] = redis
            if status == "ok" and redis != "ok":
                status = "degraded"
        # When the database cannot be asked, the fault is in `parts` already.
        if answers["jobs"] == "ok" and time.monotonic() - self._worked > RUNNER_SECONDS:
            parts["jobs"] = "no job runner"
            if status == "ok":
                status = "degraded"
        if self._away:
            parts["peers"] = f"no answer from {', '.join(self._away)}"
            if status == "ok":
                status = "degraded"
        if status != "failed" and self.draining():
            status = "draining"
        return status, parts

    async def _ask_runners(self) -> None:
        if await self._runners():
            self._worked = time.monotonic()

    async def _ask_peers(self) -> None:
        self._away = await self._peers_away()

    async def _part(self, name: str) -> str:
        task = self._running.get(name)
        now = time.monotonic()
        if task is None or (task.done() and now - self._asked[name] >= _GOOD[name]):
            self._asked[name] = now
            task = self._running[name] = asyncio.ensure_future(self._parts[name]())
            task.add_done_callback(_seen)
        # Who comes while a question hangs need not wait as long again.
        patience = max(0.01, self._asked[name] + PATIENCE - now)
        try:
            await asyncio.wait_for(asyncio.shield(task), patience)
        except TimeoutError:
            self._readable.discard(name)
            return "does not answer"
        except WritesRefusedError as error:
            # Pulls go on.
            self._readable.add(name)
            return str(error)
        except OSError as error:
            self._readable.discard(name)
            return error.strerror or type(error).__name__
        except Exception as error:
            self._readable.discard(name)
            return type(error).__name__
        self._readable.discard(name)
        return "ok"


def _seen(task: asyncio.Task[Any]) -> None:
    # Nobody may be waiting any more; without this the event loop reports the exception as forgotten.
    if not task.cancelled():
        task.exception()
