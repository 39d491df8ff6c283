"""Request rates: a token bucket for each client address and for each user.

A bucket holds `burst` tokens and gains `rate` a second; a request takes one, and is refused with 429 and
Retry-After when there is none. Buckets are kept in Redis where there is one, so that all instances count
together; otherwise, also while Redis is lost, an instance's processes share theirs in a file in memory, and
each instance counts for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import math
import mmap
import os
import struct
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from seawall.infra import telemetry
from seawall.infra.addresses import counted_as
from seawall.infra.redis import RedisClient, RedisUnavailableError
from seawall.infra.settings import RateSettings
from seawall.infra.temporary import ensure
from seawall.kernel.errors import RegistryError

# What monitoring and balancers ask must be answered whatever else goes on.
_FREE = ("/healthz", "/readyz", "/metrics", "/api/v2.0/health", "/api/v2.0/ping")
_COUNTED = ("/v2", "/api/", "/c/", "/service/", "/oauth/")
# key tag, tokens, time of the last change
_SLOT = struct.Struct("<Qdd")
# Tokens that a process takes from Redis at once, at most, and clients that it remembers.
_AT_ONCE = 20
_CLIENTS = 4096
_WAYS = 8
_SETS = 8192


_REFUSALS = telemetry.Counter(
    "seawall_http_limited_total", "Requests refused because of a rate limit", ["by"]
)


class LocalBuckets:
    """Buckets that the processes of one instance share: a set-associative table in a mapped file.

    65,536 buckets; when a set is full, the bucket that was used least recently makes room, which only ever
    gives its owner a full one.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` None: of this process alone."""
        size = _SLOT.size * _WAYS * _SETS
        if path is None:
            self._fd = os.memfd_create("seawall-rates")
        else:
            ensure(path.parent)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Zeros are free slots; the process that comes second makes the file no shorter or longer.
        os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size)

    def take(self, key: str, rate: float, burst: float) -> float:
        """Take a token; 0, or the seconds until there is one."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        tag = int.from_bytes(digest[:8], "little") | 1
        start = int.from_bytes(digest[8:], "little") % _SETS * _WAYS * _SLOT.size
        fcntl.lockf(self._fd, fcntl.LOCK_EX, _SLOT.size * _WAYS, start)
        try:
            # The system's monotonic clock: the same for every process of the host.
            now = time.monotonic()
            place, tokens, oldest = start, burst, math.inf
            for offset in range(start, start + _WAYS * _SLOT.size, _SLOT.size):
                found, left, at = _SLOT.unpack_from(self._map, offset)
                if found == tag:
                    place, tokens = offset, min(burst, left + max(0.0, now - at) * rate)
                    break
                if at < oldest:
                    place, oldest = offset, at
            tokens, wait = (tokens - 1, 0.0) if tokens >= 1 else (tokens, (1 - tokens) / rate)
            _SLOT.pack_into(self._map, place, tag, tokens, now)
            return wait
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, _SLOT.size * _WAYS, start)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        os.close(self._fd)


def _remember(where: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    where[key] = value
    if len(where) > _CLIENTS:
        where.popitem(last=False)


class RateLimiter:
    """Refuses requests above the configured rates."""

    def __init__(self, settings: RateSettings, redis: RedisClient, shared: Path | None) -> None:
        """`shared` is a file that the processes of this instance, and nobody else, may write."""
        self._settings = settings
        self._redis = redis
        self._exempt = [ipaddress.ip_network(item, strict=False) for item in settings.exempt]
        # Of the clients seen last: what their address counts as, and tokens that Redis has given for them.
        self._networks: OrderedDict[str, str | None] = OrderedDict()
        self._held: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._local = LocalBuckets(shared) if settings.per_address or settings.per_user else None

    @property
    def by_address(self) -> bool:
        """Whether requests of an address are counted at all."""
        return self._settings.per_address > 0

    async def check_address(self, path: str, address: str) -> None:
        """Count a request to `path`. Raises RegistryError TOOMANYREQUESTS (with Retry-After)."""
        if not self.by_address or path in _FREE or not path.startswith(_COUNTED):
            return
        key = self._network(address)
        if key is not None:
            await self._take("address", key, self._settings.per_address, self._settings.address_burst)

    async def check_user(self, name: str, address: str) -> None:
        """Count a request of an authenticated user. Raises RegistryError like `check_address`."""
        if self._settings.per_user and name and self._network(address) is not None:
            await self._take("user", name, self._settings.per_user, self._settings.user_burst)

    def _network(self, address: str) -> str | None:
        """`_counted_as`, remembered."""
        try:
            return self._networks[address]
        except KeyError:
            found = self._counted_as(address)
        _remember(self._networks, address, found)
        return found

    def _counted_as(self, address: str) -> str | None:
        """What an address counts as; None when it is exempt. An IPv6 client has a /64 to choose from."""
        with contextlib.suppress(ValueError):
            parsed = ipaddress.ip_address(address.partition("%")[0])
            if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
                parsed = parsed.ipv4_mapped
            if any(parsed in network for network in self._exempt):
                return None
        return counted_as(address)

    async def _take(self, by: str, key: str, rate: float, burst: int) -> None:
        wait = None
        if self._redis.configured:
            with contextlib.suppress(RedisUnavailableError):
                wait = await self._take_from_redis(by, key, rate, burst)
        if wait is None:
            assert self._local is not None
            wait = self._local.take(f"{by}:{key}", rate, burst)
        if wait > 0:
            _REFUSALS.inc(by)
            raise RegistryError(
                "TOOMANYREQUESTS",
                f"too many requests from one {by}; try again later",
                headers={"Retry-After": str(max(1, math.ceil(wait)))},
            )

    async def _take_from_redis(self, by: str, key: str, rate: float, burst: int) -> float:
        """Take a token; 0, or the seconds until there is one. Raises RedisUnavailableError.

        Of a large bucket a few are taken at once, so that not every request waits for Redis.
        """
        held = self._held.get((by, key), 0)
        if held:
            self._held[by, key] = held - 1
            return 0.0
        # Names have any characters; a digest has none that a tool on the way could trip over.
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        count = max(1, min(_AT_ONCE, burst // 1000))
        wait, taken = await self._redis.take(f"rate:{by}:{name}", rate, burst, count)
        if taken > 1:
            _remember(self._held, (by, key), self._held.get((by, key), 0) + taken - 1)
        return wait

    async def close(self) -> None:
        """Let go of the shared file."""
        if self._local is not None:
            self._local.close()
