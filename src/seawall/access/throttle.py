"""Login throttling: different wrong secrets of an account from an address, counted for the whole cluster.

A secret that was wrong before is not a new guess: a client that goes on with an old one after a rotation
locks nobody out. Past the limit every login of this account from this address is refused, with the right
secret too, so that the answer says nothing about a guess; guesses that come anyway make the wait grow.

Counted in Redis where there is one, else (also while it is lost) in the database. When Redis goes, counting
starts again in the database; when it returns, what it still has counts again.

Of a secret only 32 bits of a hash that is bound to account and address are kept: enough to tell it from the
few others of its counter, too few to look for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary, bindparam, delete, func, or_, select, update

from seawall.access.tables import login_failures
from seawall.infra import telemetry
from seawall.infra.addresses import counted_as
from seawall.infra.db import Database
from seawall.infra.db.batch import Asked
from seawall.infra.db.dialect import added, upsert
from seawall.infra.redis import RedisClient, RedisUnavailableError
from seawall.kernel.errors import RegistryError, UnavailableError

LOGINS = telemetry.Counter(
    "seawall_logins_total",
    "Passwords and secrets that were checked, by result",
    ["result"],
    known=[("ok",), ("refused",), ("throttled",)],
)
# Failures older than this are forgotten (seconds).
_FORGET = 3600
_FORGIVE_SECONDS = 1.0
# So many wrong secrets of a counter are kept apart; of more each counts.
_MARKS = 64
_STATE = select(login_failures.c.failures, login_failures.c.last_at).where(
    login_failures.c.key == bindparam("b_key")
)


@dataclass(frozen=True, slots=True)
class Guess:
    """One login: the counter it belongs to, and what tells its secret from others there."""

    key: str
    mark: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database had of a counter, asked before the attempt: wrong secrets, and when the last came.

    `counted`: how many guesses the process had counted before it asked.
    """

    key: str
    failures: int
    last: float
    counted: int


def guess(username: str, secret: str, client: str, stored: str | None = None) -> Guess:
    """The guess that a login is.

    `client` is the caller's address, `stored` the hash that the secret must fit.

    Every spelling that a directory may take for the same name has one counter, and so have all addresses that
    one client may choose from. A new password has a new one: what was guessed of the old does not keep its
    owner out.
    """
    key = _hash("login", counted_as(client), _folded(username), stored or "")
    return Guess(key, _hash(key, secret)[:8])


def _folded(username: str) -> str:
    """A name as the most forgiving directory compares it: no case, accents, invisible characters or spaces.

    Two people whose names fall together here share a counter, where they also share an address.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", username).casefold())
    kept = (c for c in plain if unicodedata.category(c) not in ("Mn", "Cf", "Cc") and not c.isspace())
    return "".join(kept) or username


def _hash(*parts: str) -> str:
    # User names have any characters; a digest has none that a tool on the way could trip over.
    return hashlib.sha256(_joined(*parts)).hexdigest()


def _joined(*parts: str) -> bytes:
    return "\0".join(parts).encode("utf-8", "surrogateescape")


def state_of_secret(stored: Any) -> Any:
    """A query for (key, failures, last_at) of the counter of a login; PostgreSQL only.

    `stored` is a query for the hash that the secret must fit. So the counter of a secret, which `guess` names
    by it, is asked for together with the secret. Parameters: `b_login`, see `of_login`.
    """
    secret = func.convert_to(func.coalesce(stored.scalar_subquery(), ""), "UTF8")
    key = func.encode(func.sha256(bindparam("b_login", type_=LargeBinary).op("||")(secret)), "hex")
    mine = select(key.label("key")).subquery("mine")
    return select(mine.c.key, login_failures.c.failures, login_failures.c.last_at).select_from(
        mine.outerjoin(login_failures, login_failures.c.key == mine.c.key)
    )


def of_login(username: str, client: str) -> bytes:
    """What `guess` hashes before the stored secret, for `state_of_secret`."""
    return _joined("login", counted_as(client), _folded(username), "")


class LoginThrottle:
    """Counts wrong secrets by counter, and refuses while a wait is on."""

    def __init__(self, db: Database, redis: RedisClient, *, attempts: int, wait_seconds: int) -> None:
        """`attempts` wrong secrets impose a wait of `wait_seconds`, further ones up to 32 times that."""
        self._db = db
        self._redis = redis
        self._attempts = attempts
        self._wait = wait_seconds
        # Of each counter, the secrets that are being tried by this process.
        self._trying: dict[str, Counter[str]] = {}
        # Guesses that this process has counted.
        self._counted = 0

    def mark(self) -> int | None:
        """To be asked before the database is, for `Seen.counted`; None: the counters are not there."""
        return None if self._redis.configured else self._counted

    @contextlib.asynccontextmanager
    async def attempt(self, of: Guess, seen: Seen | None = None) -> AsyncIterator[int]:
        """Try a guess inside; gives how many wrong secrets its counter has.

        `seen`: what is known of the counter; it is asked for where that is of another or too old.
        Raises RegistryError TOOMANYREQUESTS (with Retry-After) while logins of this counter must wait; the
        guess counts all the same. Of guesses that come at once no more are tried than are left.
        """
        trying = self._trying.setdefault(of.key, Counter())
        others = len(trying) - (of.mark in trying)
        trying[of.mark] += 1
        try:
            # Who was counted since then is not in `seen`, and no longer tried either.
            if seen is not None and (seen.key, seen.counted) == (of.key, self._counted):
                failures, last = seen.failures, seen.last
            else:
                failures, last = await self._state(of)
            if self._left(failures, last) > 0 or (others and failures + others >= self._attempts):
                LOGINS.inc("throttled")
                raise await self._refusal(of)
            yield failures
        finally:
            trying[of.mark] -= 1
            if not trying[of.mark]:
                del trying[of.mark]
            if not trying:
                self._trying.pop(of.key, None)

    async def _refusal(self, of: Guess) -> RegistryError:
        failures, last, new = await self._count(of)
        left = self._left(failures + 1, self._db.now()) if new else self._left(failures, last)
        return RegistryError(
            "TOOMANYREQUESTS",
            "too many failed logins; try again later",
            headers={"Retry-After": str(max(0, int(left)) + 1)},
        )

    async def failed(self, of: Guess) -> None:
        """Count a wrong secret, unless it was counted before."""
        await self._count(of)

    async def passed(self, of: Guess) -> None:
        """Forget the failures: the right secret was given."""
        if self._redis.configured:
            try:
                await self._redis.delete(f"login:{of.key}")
                return
            except RedisUnavailableError:
                pass
        mine = or_(login_failures.c.key == of.key, login_failures.c.key.startswith(f"{of.key}#"))
        # A login is part of pulling, which goes on while nothing can be written.
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(_FORGIVE_SECONDS):
                await self._db.write(lambda c: c.execute(delete(login_failures).where(mine)), durable=False)

    def _left(self, failures: int, last: float) -> float:
        """Seconds that are left to wait."""
        if failures < self._attempts:
            return 0
        wait = float(self._wait << min((failures - self._attempts) // self._attempts, 5))
        return last + wait - self._db.now()

    async def _count(self, of: Guess) -> tuple[int, float, bool]:
        """(wrong secrets, time of the last one) before this guess, and whether it is a new one."""
        try:
            return await self._counted_now(of)
        finally:
            self._counted += 1

    async def _counted_now(self, of: Guess) -> tuple[int, float, bool]:
        if self._redis.configured:
            try:
                return await self._redis.count(f"login:{of.key}", of.mark, _MARKS, _FORGET, self._db.now())
            except RedisUnavailableError:
                pass
        return await self._db.write(lambda c: _count(c, of, self._db.now()))

    async def _state(self, of: Guess) -> tuple[int, float]:
        if self._redis.configured:
            try:
                return await self._redis.counted(f"login:{of.key}")
            except RedisUnavailableError:
                pass
        query, named = state_of(of)
        row = await self._db.point(lambda c: c.execute(query, named).first())
        return (row[0], row[1]) if row else (0, 0.0)


def state_of(of: Guess) -> Asked:
    """A query for (failures, last_at) of a guess's counter."""
    return _STATE, {"b_key": of.key}


def _count(connection: Connection, of: Guess, now: float) -> tuple[int, float, bool]:
    columns = login_failures.c
    # The row is there before it is locked, so that guesses that come at once take turns at the first one too.
    fresh = {"key": of.key, "failures": 0, "last_at": now}
    if added(connection, login_failures, fresh, "key"):
        # Old entries go when new ones come, so the table stays small.
        connection.execute(delete(login_failures).where(columns.last_at < now - 86400))
    failures, last = connection.execute(
        select(columns.failures, columns.last_at).where(columns.key == of.key).with_for_update()
    ).one()
    if now - last > _FORGET:
        failures = 0
    mark = f"{of.key}#{of.mark}"
    known = (
        failures > 0
        and connection.execute(
            select(columns.key).where(columns.key == mark, columns.last_at > now - _FORGET)
        ).first()
    )
    if known:
        return failures, last, False
    connection.execute(
        update(login_failures).where(columns.key == of.key).values(failures=failures + 1, last_at=now)
    )
    if failures < _MARKS:
        marked = {"key": mark, "failures": 0, "last_at": now}
        connection.execute(upsert(connection, login_failures, marked, "key", ["last_at"]))
    return failures, last, True


__all__ = ["Guess", "LoginThrottle", "Seen", "guess", "of_login", "state_of", "state_of_secret"]
