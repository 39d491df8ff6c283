"""Sessions of the portal, good on every instance.

The database is where a session is; Redis, if there is one, saves reading it there. So a session outlives the
instance that made it and the loss of Redis. An entry in Redis lives for `CACHE_SECONDS`; a deleted session
leaves a mark there that outlives every entry that a concurrent reader may still be about to write.

A session id is 32 random bytes made here and nowhere else: an id that a client brings along is looked up,
never adopted (session fixation), and `renew` changes it at login and whenever rights change. Only its
SHA-256 is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from seawall.access.tables import sessions
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.redis import RedisClient, RedisUnavailableError

CACHE_SECONDS = 30
# `seen_at` is written no more often than this.
_TOUCH_SECONDS = 60
_GONE = "-"
log: Any = structlog.get_logger("seawall.sessions")


@dataclass(frozen=True, slots=True)
class Session:
    """A live session. Times are Unix seconds; `data` is the creator's (JSON-able)."""

    id_hash: str
    user_id: int
    created_at: float
    seen_at: float
    expires_at: float
    address: str
    agent: str
    data: dict[str, Any]


class SessionStore:
    """Creates, finds and ends sessions."""

    def __init__(
        self,
        db: Database,
        redis: RedisClient,
        *,
        hours: float = 24,
        idle_minutes: Callable[[], Awaitable[float]],
    ) -> None:
        """`idle_minutes` gives what administrators have set: a session unused for so long has ended."""
        self._idle_minutes = idle_minutes
        self._db = db
        self._redis = redis
        self._life = hours * 3600

    async def _idle_seconds(self) -> float:
        return await self._idle_minutes() * 60

    async def create(
        self,
        user_id: int,
        *,
        address: str = "",
        agent: str = "",
        data: dict[str, Any] | None = None,
        also: Also = nothing,
    ) -> str:
        """A new session of the user; returns its id, for the cookie."""
        token, row = self._new(user_id, address, agent, data or {})
        await self._db.write(lambda c: c.execute(insert(sessions), row), also=also)
        return token

    async def get(self, token: str) -> Session | None:
        """The live session with id `token`, else None; counts as a use of it."""
        id_hash = hash_of(token)
        idle = await self._idle_seconds()
        found = await self._cached(id_hash)
        if found == _GONE:
            return None
        now = self._db.now()
        session = found if isinstance(found, Session) else None
        if session is None:
            session = await self._stored(id_hash)
            if session is None:
                return None
        if session.expires_at <= now or session.seen_at + idle <= now:
            return None
        if now - session.seen_at > min(_TOUCH_SECONDS, idle / 4):
            touched = await self._db.write(
                lambda c: (
                    c.execute(
                        update(sessions).where(sessions.c.id_hash == id_hash).values(seen_at=now)
                    ).rowcount
                ),
                durable=False,
            )
            if not touched:
                return None
            session = replace(session, seen_at=now)
            found = None
        if found is None:
            with contextlib.suppress(RedisUnavailableError):
                value = json.dumps(asdict(session))
                await self._redis.refresh(f"session:{id_hash}", value, CACHE_SECONDS, unless=_GONE)
        return session

    async def renew(self, token: str, *, data: dict[str, Any] | None = None) -> str | None:
        """Replace the session by one with a new id (and `data`, if given); None when there is none."""
        id_hash = hash_of(token)
        found = await self._stored(id_hash)
        if found is None or found.expires_at <= self._db.now():
            return None
        fresh, row = self._new(
            found.user_id, found.address, found.agent, found.data if data is None else data
        )
        row["expires_at"] = found.expires_at

        def replace_session(connection: Connection) -> bool:
            if not connection.execute(delete(sessions).where(sessions.c.id_hash == id_hash)).rowcount:
                return False
            connection.execute(insert(sessions), row)
            return True

        done = await self._db.write(replace_session)
        await self._forget(id_hash)
        return fresh if done else None

    async def delete(self, token: str, *, also: Also = nothing) -> None:
        """End the session; an unknown one is not an error."""
        id_hash = hash_of(token)
        await self._db.write(
            lambda c: c.execute(delete(sessions).where(sessions.c.id_hash == id_hash)), also=also
        )
        await self._forget(id_hash)

    async def delete_user(self, user_id: int, *, keep: str | None = None, also: Also = nothing) -> int:
        """End every session of the user (but the one with id `keep`); returns how many."""
        spared = hash_of(keep) if keep is not None else ""

        def delete_sessions(connection: Connection) -> list[str]:
            where = (sessions.c.user_id == user_id, sessions.c.id_hash != spared)
            found = list(connection.execute(select(sessions.c.id_hash).where(*where)).scalars())
            connection.execute(delete(sessions).where(*where))
            return found

        ended = await self._db.write(delete_sessions, also=also)
        for id_hash in ended:
            await self._forget(id_hash)
        return len(ended)

    async def list(self, user_id: int) -> list[Session]:
        """The user's live sessions, newest first."""
        idle = await self._idle_seconds()
        now = self._db.now()
        rows = await self._db.read(
            lambda c: list(
                c.execute(
                    select(sessions)
                    .where(
                        sessions.c.user_id == user_id,
                        sessions.c.expires_at > now,
                        sessions.c.seen_at > now - idle,
                    )
                    .order_by(sessions.c.created_at.desc())
                )
            )
        )
        return [Session(*row) for row in rows]

    async def alive(self, hashes: Collection[str]) -> dict[str, Session]:
        """Those of the sessions that are live, by `id_hash`; does not count as a use of them."""
        idle = await self._idle_seconds()
        now = self._db.now()
        query = select(sessions).where(
            sessions.c.id_hash.in_(hashes), sessions.c.expires_at > now, sessions.c.seen_at > now - idle
        )
        rows = await self._db.read(lambda c: list(c.execute(query)))
        return {row[0]: Session(*row) for row in rows}

    async def sweep(self) -> None:
        """Remove ended sessions now and then, until cancelled."""
        while True:
            # Spread out, so that the instances do not all do it at once.
            await asyncio.sleep(600 + secrets.randbelow(600))
            idle = await self._idle_seconds()
            now = self._db.now()
            over = (sessions.c.expires_at < now) | (sessions.c.seen_at < now - idle)
            await self._db.write(lambda c, over=over: c.execute(delete(sessions).where(over)))  # type: ignore[misc]

    def _new(
        self, user_id: int, address: str, agent: str, data: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        token = secrets.token_urlsafe(32)
        now = self._db.now()
        return token, {
            "id_hash": hash_of(token),
            "user_id": user_id,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + self._life,
            "address": address[:64],
            "agent": agent[:255],
            "data": data,
        }

    async def _stored(self, id_hash: str) -> Session | None:
        row = await self._db.point(
            lambda c: c.execute(select(sessions).where(sessions.c.id_hash == id_hash)).first()
        )
        return Session(*row) if row else None

    async def _cached(self, id_hash: str) -> Session | str | None:
        """A session, `_GONE`, or None for "ask the database"."""
        try:
            value = await self._redis.get(f"session:{id_hash}")
        except RedisUnavailableError:
            return None
        if value is None:
            return None
        if value == _GONE.encode():
            return _GONE
        try:
            return Session(**json.loads(value))
        except (ValueError, TypeError):
            return None  # written by another version

    async def forget(self, id_hash: str) -> None:
        """A session has ended elsewhere: drop what is cached of it."""
        await self._forget(id_hash)

    async def _forget(self, id_hash: str) -> None:
        try:
            await self._redis.set(f"session:{id_hash}", _GONE, 2 * CACHE_SECONDS)
        except RedisUnavailableError:
            if self._redis.configured:
                # Instances that still reach Redis may take it for so long.
                log.warning("a session ended while redis was lost", valid_elsewhere_seconds=CACHE_SECONDS)


def hash_of(token: str) -> str:
    """The `id_hash` of the session with id `token`."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


__all__ = ["Session", "SessionStore", "hash_of"]
