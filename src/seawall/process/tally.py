"""What requests came to, for Prometheus: added up here, and written now and then.

To write one number costs as much as a tenth of a small read, and each request changes several. So they are
added up, and written a twentieth of a second later, before this process shows its numbers, and when it ends.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

import prometheus_client
from prometheus_client import Counter, Gauge

from seawall.infra import exemplars, telemetry

_SECONDS = 0.05

REQUESTS = Counter("seawall_http_requests_total", "HTTP requests", ["method", "route", "status"])
ACTIVE = Gauge("seawall_http_requests_active", "Requests being served", multiprocess_mode="livesum")
RECEIVED = telemetry.Counter(
    "seawall_http_received_bytes_total", "Bytes of the bodies of requests", ["route"]
)
SENT = telemetry.Counter(
    "seawall_http_sent_bytes_total",
    "Bytes of the bodies of answers, without those that the object store sends",
    ["route"],
)


class Histogram(prometheus_client.Histogram):
    """A histogram that takes many observations at once."""

    bounds = (*exemplars.BUCKETS, float("inf"))

    def add(self, counts: Sequence[int], total: float) -> None:
        """So many observations of each bucket, the last one's without a bound, and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


SECONDS = Histogram(
    exemplars.HISTOGRAM, "Time to answer a request", ["method", "route"], buckets=exemplars.BUCKETS
)


class _Of:
    """What requests of one method, route and status came to since it was written."""

    __slots__ = ("buckets", "count", "received", "requests", "route", "seconds", "sent", "total")

    def __init__(self, method: str, route: str, status: int) -> None:
        self.route = route
        # Looking up a labelled child costs more than counting with it.
        self.requests = REQUESTS.labels(method, route, str(status))
        self.seconds: Histogram = SECONDS.labels(method, route)
        self.clear()

    def clear(self) -> None:
        self.count = self.received = self.sent = 0
        self.total = 0.0
        self.buckets = [0] * len(Histogram.bounds)


class Tally:
    """Adds up requests."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, int], _Of] = {}
        self._changed: set[_Of] = set()
        self._active = 0
        # The loop that writes soon, so that a loop that was closed before it did so holds up nothing.
        self._loop: asyncio.AbstractEventLoop | None = None

    def begun(self) -> None:
        """A request came."""
        self._active += 1
        self._soon()

    def ended(self, method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """It was answered; `received` and `sent` are the bytes of the bodies."""
        self._active -= 1
        key = (method, route, status)
        found = self._of.get(key)
        if found is None:
            found = self._of[key] = _Of(method, route, status)
        found.count += 1
        found.total += seconds
        found.buckets[bisect_left(Histogram.bounds, seconds)] += 1
        found.received += received
        found.sent += sent
        self._changed.add(found)
        self._soon()

    def _soon(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(_SECONDS, self._write)

    def _write(self) -> None:
        self._loop = None
        self.write()

    def write(self) -> None:
        """Write what was added up."""
        ACTIVE.set(self._active)
        for of in self._changed:
            of.requests.inc(of.count)
            of.seconds.add(of.buckets, of.total)
            if of.received:
                RECEIVED.inc(of.route, by=of.received)
            if of.sent:
                SENT.inc(of.route, by=of.sent)
            of.clear()
        self._changed.clear()


# Of this process.
TALLY = Tally()
