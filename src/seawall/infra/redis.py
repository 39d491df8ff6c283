"""Redis, as something Seawall is faster with and never depends on.

Every call may fail: then `RedisUnavailableError` is raised, callers go to the database instead, and for a
second no other call tries (so that a Redis that hangs does not hang the registry). One server, Sentinel and
Cluster are the same to callers. Keys have the prefix `seawall:`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from seawall.infra.settings import RedisSettings
from seawall.kernel.extras import need, optional

if TYPE_CHECKING:
    from redis import exceptions
else:
    exceptions = optional("redis.exceptions")

T = TypeVar("T")
log: Any = structlog.get_logger("seawall.redis")
PREFIX = "seawall:"
_PAUSE = 1.0
_REFRESH = """
if redis.call('GET', KEYS[1]) == ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# A counter of different things: each field of them counts once, while there are fewer than ARGV[4].
_COUNT = """
local n = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
local at = redis.call('HGET', KEYS[1], 'at') or '0'
local mark = '#' .. ARGV[3]
if redis.call('HEXISTS', KEYS[1], mark) == 1 then return {n, at, 0} end
if n < tonumber(ARGV[4]) then redis.call('HSET', KEYS[1], mark, 1) end
redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('HSET', KEYS[1], 'at', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {n, at, 1}
"""

_TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local rate, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'n', 'at')
local n = tonumber(held[1] or burst) + math.max(0, now - tonumber(held[2] or now)) * rate
n = math.min(burst, n)
local wait, taken = 0, math.min(count, math.floor(n))
if taken > 0 then n = n - taken else wait = (1 - n) / rate end
redis.call('HSET', KEYS[1], 'n', string.format('%.6f', n), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return string.format('%.6f %d', wait, taken)
"""


class RedisUnavailableError(Exception):
    """Redis is not configured, or did not answer."""


class RedisClient:
    """A client of the configured Redis, for one event loop."""

    def __init__(self, settings: RedisSettings) -> None:
        """Raises MissingExtraError where one is configured and the client is not installed."""
        if settings.configured:
            need("redis", "redis.url")
            # Read now and not during the first request.
            import_module("redis.asyncio")
        self._settings = settings
        self._client: Any = None
        self._extra: list[Any] = []
        self._down_until = 0.0
        self._error = ""

    @property
    def configured(self) -> bool:
        """Whether there is a Redis to speak to."""
        return self._settings.configured

    async def status(self) -> str:
        """`off` (not configured), `ok`, or what went wrong."""
        if not self.configured:
            return "off"
        try:
            # A write: a Redis that has no memory left, or has become a replica, still answers pings.
            await self.run(lambda client: client.set(PREFIX + "health", "1", px=60_000))
        except RedisUnavailableError:
            return self._error or "lost"
        return "ok"

    async def run(self, call: Callable[[Any], Awaitable[T]]) -> T:
        """`call(client)`; raises RedisUnavailableError when Redis cannot answer in time."""
        if not self.configured or time.monotonic() < self._down_until:
            raise RedisUnavailableError
        try:
            if self._client is None:
                self._client = self._connect()
            result = await asyncio.wait_for(call(self._client), self._settings.timeout_seconds * 2)
        except _lost() as error:
            if not self._error:
                log.warning("redis is lost; the database does its work", error=str(error)[:200])
            full = isinstance(error, exceptions.OutOfMemoryError)
            self._error = "no memory left" if full else type(error).__name__
            self._down_until = time.monotonic() + _PAUSE
            raise RedisUnavailableError from None
        if self._error:
            log.info("redis is back")
            self._error = ""
        return result

    async def get(self, key: str) -> bytes | None:
        """The value of `key`."""
        return await self.run(lambda client: client.get(PREFIX + key))

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Store for `seconds`."""
        await self.run(lambda client: client.set(PREFIX + key, value, px=max(1, int(seconds * 1000))))

    async def refresh(self, key: str, value: str, seconds: float, *, unless: str) -> None:
        """Store for `seconds` in place of any value but `unless`."""
        await self.run(
            lambda client: client.eval(_REFRESH, 1, PREFIX + key, value, int(seconds * 1000), unless)
        )

    async def delete(self, key: str) -> None:
        """Remove `key`."""
        await self.run(lambda client: client.delete(PREFIX + key))

    async def count(
        self, key: str, mark: str, most: int, seconds: float, now: float
    ) -> tuple[int, float, bool]:
        """Add one to a counter, at the time `now`, unless `mark` is in it; forgotten `seconds` after that.

        Returns the count and the Unix time of the last one as they were, and whether it was added. No more
        than `most` marks are kept.
        """
        values = await self.run(
            lambda client: client.eval(_COUNT, 1, PREFIX + key, str(now), int(seconds * 1000), mark, most)
        )
        return int(values[0]), float(values[1]), bool(values[2])

    async def counted(self, key: str) -> tuple[int, float]:
        """(count, Unix time of the last one) of a counter."""
        values = await self.run(lambda client: client.hmget(PREFIX + key, ["n", "at"]))
        return int(values[0] or 0), float(values[1] or 0)

    async def take(self, key: str, rate: float, burst: int, count: int = 1) -> tuple[float, int]:
        """Take up to `count` of a bucket's `burst` tokens, which come back at `rate` a second.

        The clock is Redis's. Returns (0, how many were taken), or (the seconds until there is one, 0).
        """
        answer = await self.run(lambda client: client.eval(_TAKE, 1, PREFIX + key, rate, burst, count))
        wait, _, taken = (answer.decode() if isinstance(answer, bytes) else str(answer)).partition(" ")
        return float(wait), int(taken)

    async def publish(self, channel: str, message: str) -> None:
        """Tell every instance that listens; losing it must only cost time."""
        await self.run(lambda client: client.publish(PREFIX + channel, message))

    async def listen(self, channel: str) -> AsyncIterator[str]:
        """Messages of `channel`. Raises RedisUnavailableError when the connection breaks."""
        if not self.configured or self._settings.cluster is not None:
            raise RedisUnavailableError
        try:
            if self._client is None:
                self._client = self._connect()
            pubsub = self._client.pubsub()
            async with pubsub:
                await pubsub.subscribe(PREFIX + channel)
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
                    if message is not None:
                        yield message["data"].decode()
        except _lost() as error:
            raise RedisUnavailableError from error

    async def close(self) -> None:
        """Close connections."""
        for client in [self._client, *self._extra]:
            if client is not None:
                await client.aclose()
        self._client = None

    def _connect(self) -> Any:
        from redis.asyncio import Redis, RedisCluster
        from redis.asyncio.cluster import ClusterNode
        from redis.asyncio.retry import Retry
        from redis.asyncio.sentinel import Sentinel
        from redis.backoff import NoBackoff

        settings = self._settings
        common: dict[str, Any] = {
            "socket_timeout": settings.timeout_seconds,
            "socket_connect_timeout": settings.timeout_seconds,
            # One more try at once: a pooled connection may have died while nobody used it.
            "retry": Retry(NoBackoff(), 1),
            "retry_on_error": [ConnectionError],
        }
        login: dict[str, Any] = {"username": settings.username, "password": settings.password}
        tls: dict[str, Any] = {}
        if settings.tls or (settings.url or "").startswith("rediss:"):
            tls = {
                "ssl": True,
                "ssl_ca_certs": str(settings.tls_ca_file) if settings.tls_ca_file else None,
                "ssl_certfile": str(settings.tls_certificate) if settings.tls_certificate else None,
                "ssl_keyfile": str(settings.tls_key) if settings.tls_key else None,
                "ssl_cert_reqs": "required",
                "ssl_min_version": ssl.TLSVersion.TLSv1_2,
            }
        if settings.url is not None:
            extra = dict(tls)
            extra.pop("ssl", None)  # the scheme says so
            return Redis.from_url(settings.url, **common, **{k: v for k, v in login.items() if v}, **extra)
        if settings.sentinel is not None:
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                _hosts(settings.sentinel, 26379),
                sentinel_kwargs={**common, **tls, "password": settings.sentinel_password},
                db=settings.db,
                **common,
                **login,
                **tls,
            )
            self._extra = list(sentinel.sentinels)
            return sentinel.master_for(settings.sentinel_master)
        assert settings.cluster is not None
        common.pop("retry_on_error")
        nodes = [ClusterNode(host, port) for host, port in _hosts(settings.cluster, 6379)]
        return RedisCluster(startup_nodes=nodes, **common, **login, **tls)


def _lost() -> tuple[type[Exception], ...]:
    # A cluster without a node that can be reached raises an error that is not a RedisError.
    return exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError


def _hosts(value: str, port: int) -> list[tuple[str, int]]:
    found = []
    for item in value.split(","):
        host, _, given = item.strip().rpartition(":")
        # An IPv6 address ends with a bracket where no port follows.
        if not host or item.strip().endswith("]"):
            host, given = item.strip(), str(port)
        found.append((host.strip("[]"), int(given)))
    return found
