"""Login throttling: failures of a user from an address, counted for the whole cluster.

Counted in Redis where there is one, else (also while it is lost) in the database. When Redis goes, counting
starts anew in the database; when it returns, what it still has counts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from sqlalchemy import Connection, delete, insert, select, update

from seawall.access.tables import login_failures
from seawall.infra.db import Database
from seawall.infra.redis import RedisClient, RedisUnavailableError
from seawall.kernel.errors import RegistryError, UnavailableError

# Failures older than this are forgotten (seconds).
_FORGET = 3600
_FORGIVE_SECONDS = 1.0


class LoginThrottle:
    """Counts failures by key, and refuses while a wait is on."""

    def __init__(self, db: Database, redis: RedisClient | None, *, attempts: int, wait_seconds: int) -> None:
        """`attempts` failures impose a wait of `wait_seconds`, doubled with further ones up to 32 times."""
        self._db = db
        self._redis = redis
        self._attempts = attempts
        self._wait = wait_seconds

    async def check(self, key: str) -> int:
        """How many failures this key has.

        Raises RegistryError TOOMANYREQUESTS (with Retry-After) while logins with it must wait.
        """
        failures, last = await self._state(key)
        if failures < self._attempts:
            return failures
        wait = self._wait * 2 ** min((failures - self._attempts) // self._attempts, 5)
        left = last + wait - self._db.now()
        if left > 0:
            raise RegistryError(
                "TOOMANYREQUESTS",
                "too many failed logins; try again later",
                headers={"Retry-After": str(int(left) + 1)},
            )
        return failures

    async def failed(self, key: str) -> None:
        """Count a failure."""
        if self._redis is not None and self._redis.configured:
            name = _name(key)
            try:
                await self._redis.count(name, _FORGET, self._db.now())
                return
            except RedisUnavailableError:
                pass
        await self._db.write(lambda c: _count(c, key, self._db.now()))

    async def passed(self, key: str) -> None:
        """Forget the failures: the right password was given."""
        if self._redis is not None and self._redis.configured:
            try:
                await self._redis.delete(_name(key))
                return
            except RedisUnavailableError:
                pass
        # A login is part of pulling, which goes on while nothing can be written.
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(_FORGIVE_SECONDS):
                await self._db.write(
                    lambda c: c.execute(delete(login_failures).where(login_failures.c.key == key)),
                    durable=False,
                )

    async def _state(self, key: str) -> tuple[int, float]:
        if self._redis is not None and self._redis.configured:
            try:
                return await self._redis.counted(_name(key))
            except RedisUnavailableError:
                pass
        row = await self._db.point(
            lambda c: c.execute(
                select(login_failures.c.failures, login_failures.c.last_at).where(login_failures.c.key == key)
            ).first()
        )
        return (row[0], row[1]) if row else (0, 0.0)


def _name(key: str) -> str:
    # User names have any characters; a digest has none that a tool on the way could trip over.
    return "login:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _count(connection: Connection, key: str, now: float) -> None:
    row = connection.execute(
        select(login_failures.c.failures, login_failures.c.last_at)
        .where(login_failures.c.key == key)
        .with_for_update()
    ).first()
    if row is None:
        # Old entries go when new ones come, so the table stays small.
        connection.execute(delete(login_failures).where(login_failures.c.last_at < now - 86400))
        connection.execute(insert(login_failures).values(key=key, failures=1, last_at=now))
    else:
        failures = 1 if now - row[1] > _FORGET else row[0] + 1
        connection.execute(
            update(login_failures).where(login_failures.c.key == key).values(failures=failures, last_at=now)
        )


__all__ = ["LoginThrottle"]
