"""The memory of an upstream that fails, so that clients do not wait for it again and again.

Each process remembers for itself. What it remembers says how the network looks from there, costs the others
one short attempt at most, and needs no write to the database while an upstream is down. What all may see is
`registries.status`, which a process sets when its memory of a registry changes.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
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
    "seawall_proxy_stale_total", "Answers from the cache while the upstream fails", ["registry"]
)
# One request tries a failed upstream; the others are answered without it for so long.
_TRIAL_SECONDS = 30.0


# Failing repositories that are remembered of a registry; the oldest is forgotten first.
_MOST_REPOSITORIES = 1000
# A registry is taken to fail when so many of its repositories have failed within so many seconds.
_SEVERAL = 3
_WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Breaker:
    """Whether to ask. It is open from a failure on, and lets one request through now and then."""

    failures: int = 0
    reason: str = ""
    retry_at: float = 0.0

    def ready(self, now: float) -> bool:
        """Whether a caller might ask."""
        return not self.failures or now >= self.retry_at

    def taken(self, now: float) -> None:
        """A caller asks, and then says how that went."""
        if self.failures:
            self.retry_at = now + _TRIAL_SECONDS

    def failed(self, reason: str, retry_after: float = 0.0) -> bool:
        """Remember a failure; whether this was the first. `retry_after` in seconds."""
        self.failures += 1
        self.reason = reason
        wait = min(_FIRST_SECONDS * 2 ** min(self.failures - 1, 10), _MOST_SECONDS)
        self.retry_at = time.monotonic() + max(wait, min(retry_after, _MOST_RETRY_AFTER))
        return self.failures == 1


class Breakers:
    """What is remembered of a registry: of itself, and of each repository that fails.

    One repository's timeouts and errors say nothing of the others. The registry itself is taken to fail when
    its ping (`/v2/`) does, or when several repositories have failed lately and none has answered since.
    """

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.own = Breaker()
        self._repositories: OrderedDict[str, Breaker] = OrderedDict()
        # Those that failed since one has answered.
        self._failing: dict[str, float] = {}
        self.recovered()

    def _of(self, repository: str) -> tuple[Breaker, ...]:
        found = self._repositories.get(repository)
        return (self.own,) if found is None else (self.own, found)

    def suspect(self, repository: str) -> bool:
        """Whether the last question of the repository, or of the registry, failed."""
        return any(item.failures for item in self._of(repository))

    def lets_through(self, repository: str) -> bool:
        """Whether the caller may ask the upstream; it then says how that went."""
        now = time.monotonic()
        breakers = self._of(repository)
        if not all(item.ready(now) for item in breakers):
            return False
        for item in breakers:
            item.taken(now)
        return True

    def failed(self, repository: str, reason: str, retry_after: float = 0.0) -> tuple[bool, bool]:
        """Remember a failure: whether it is the repository's first, and whether the registry falls by it."""
        breaker = self._repositories.setdefault(repository, Breaker())
        self._repositories.move_to_end(repository)
        first = breaker.failed(reason, retry_after)
        while len(self._repositories) > _MOST_REPOSITORIES:
            self._repositories.popitem(last=False)
        now = time.monotonic()
        self._failing = {name: at for name, at in self._failing.items() if now - at < _WINDOW_SECONDS}
        if len(self._failing) < _SEVERAL:
            self._failing[repository] = now
        if self.own.failures or self.several():
            return first, self.fell(reason, retry_after)
        return first, False

    def several(self) -> bool:
        """Whether several repositories have failed lately, and none has answered since."""
        return len(self._failing) >= _SEVERAL

    def fell(self, reason: str, retry_after: float = 0.0) -> bool:
        """The registry itself does not answer; whether it was taken to be well before."""
        _up().labels(self.registry).set(0)
        return self.own.failed(reason, retry_after)

    def succeeded(self, repository: str) -> bool:
        """The upstream has answered about a repository; whether the registry was taken to fail."""
        self._repositories.pop(repository, None)
        self._failing.clear()
        return self.recovered()

    def recovered(self, but: str = "") -> bool:
        """The registry itself answers; whether it was taken to fail. Repository `but` still does."""
        had = self.own.failures > 0
        if had:
            # They failed with it.
            kept = self._repositories.get(but)
            self._repositories.clear()
            if kept is not None:
                self._repositories[but] = kept
        self.own = Breaker()
        _up().labels(self.registry).set(1)
        return had

    def served_stale(self) -> None:
        """Count an answer from the cache."""
        _STALE.inc(self.registry)

    def refusal(self, repository: str) -> RegistryError:
        """The answer to a client that needs the upstream now."""
        retry_at = max(item.retry_at for item in self._of(repository))
        return RegistryError(
            "UNAVAILABLE",
            "the upstream registry cannot be reached",
            status=503,
            headers={"Retry-After": str(max(1, round(retry_at - time.monotonic())))},
        )


def counts_as_failure(error: RemoteError) -> bool:
    """Whether an error says that the upstream is not well: an answer of 401 or 404 does not."""
    return not error.content and (error.status in (0, 408, 429) or error.status >= 500)


def told(error: RemoteError) -> RegistryError:
    """The answer to a client about an upstream's error."""
    if error.status in (400, 404, 410):
        # 400: a name that the upstream does not take, such as one of a single part at Harbor's.
        return RegistryError("NAME_UNKNOWN", "unknown to the upstream registry")
    if error.status == 429:
        headers = {"Retry-After": str(max(1, round(error.retry_after)))}
        return RegistryError("TOOMANYREQUESTS", "the upstream registry limits its requests", headers=headers)
    if error.status in (401, 403):
        return RegistryError("DENIED", "the upstream registry refuses", status=403)
    # The error itself is for operators: it may name addresses that are nothing for clients.
    wrong = "answers with what is not understood" if error.content else "cannot be reached"
    return RegistryError(
        "UNAVAILABLE",
        f"the upstream registry {wrong}",
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
