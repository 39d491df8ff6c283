"""The memory of an upstream that fails, so that clients do not wait for it again and again.

Each process remembers for itself. What it remembers says how the network looks from there, costs the others
one short attempt at most, and needs no write to the database while an upstream is down. What all may see is
`registries.status`, which a process sets when its memory of a registry changes.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

from seawall.features.replication.remote import RemoteError
from seawall.infra import telemetry
from seawall.kernel.errors import RegistryError

_FIRST_SECONDS = 5.0
_MOST_SECONDS = 60.0
# The longest that an upstream's Retry-After is believed.
_MOST_RETRY_AFTER = 300.0
_STALE = telemetry.Counter(
    "seawall_proxy_stale_total", "Answers from the cache because the upstream fails", ["registry"]
)
# One request tries a failed upstream; the others are answered without it for so long.
_TRIAL_SECONDS = 30.0


@dataclass(slots=True)
class Breaker:
    """Whether to ask an upstream. It is open from a failure on, and lets one request through now and then."""

    registry: str
    failures: int = 0
    reason: str = ""
    _retry_at: float = 0.0

    def lets_through(self) -> bool:
        """Whether the caller may ask the upstream; it then says how that went."""
        if not self.failures:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + _TRIAL_SECONDS
        return True

    def failed(self, reason: str, retry_after: float = 0.0) -> bool:
        """Remember a failure; whether the upstream was taken to be well before. `retry_after` in seconds."""
        first = self.failures == 0
        self.failures += 1
        self.reason = reason
        wait = min(_FIRST_SECONDS * 2 ** min(self.failures - 1, 10), _MOST_SECONDS)
        self._retry_at = time.monotonic() + max(wait, min(retry_after, _MOST_RETRY_AFTER))
        _up().labels(self.registry).set(0)
        return first

    def succeeded(self) -> bool:
        """Forget the failures; whether there were any."""
        had = self.failures > 0
        self.failures, self.reason = 0, ""
        _up().labels(self.registry).set(1)
        return had

    def served_stale(self) -> None:
        """Count an answer from the cache."""
        _STALE.inc(self.registry)

    def refusal(self) -> RegistryError:
        """What a client is told that needs the upstream now."""
        wait = max(1, round(self._retry_at - time.monotonic()))
        return RegistryError(
            "UNAVAILABLE",
            "the upstream registry cannot be reached",
            status=503,
            headers={"Retry-After": str(wait)},
        )


def counts_as_failure(error: RemoteError) -> bool:
    """Whether an error says that the upstream is not well: an answer of 401 or 404 does not."""
    return not error.content and (error.status in (0, 408, 429) or error.status >= 500)


def told(error: RemoteError) -> RegistryError:
    """What a client is told of an upstream's error."""
    if error.status == 404:
        return RegistryError("NAME_UNKNOWN", "unknown to the upstream registry")
    if error.status == 429:
        headers = {"Retry-After": str(max(1, round(error.retry_after)))}
        return RegistryError("TOOMANYREQUESTS", "the upstream registry limits its requests", headers=headers)
    if error.status in (401, 403):
        return RegistryError("DENIED", "the upstream registry refuses", status=403)
    return RegistryError(
        "UNAVAILABLE",
        "the upstream registry cannot be reached",
        status=503,
        headers={"Retry-After": str(round(_FIRST_SECONDS))},
    )


# prometheus-client wants to know where processes count together when it is imported, and this module is
# imported before that is known.
@functools.cache
def _up() -> Any:
    from prometheus_client import Gauge

    return Gauge(
        "seawall_proxy_upstream_up",
        "Whether the upstream of proxy-cache projects answers",
        ["registry"],
        multiprocess_mode="livemin",
    )
