"""What a process counts and measures for Prometheus, and the figures of the whole cluster with it.

`prometheus_client` decides at its import whether several processes count together, and `seawall serve` knows
where they do so only once it has started. So a meter here is a description that anybody may import and use.
It counts from `start` on, which a server and a job runner call; in a command it does nothing.

    LOGINS = Counter("seawall_logins_total", "Logins by password", ["result"], known=[("ok",), ("refused",)])
    LOGINS.inc("ok")

A label must have few values: never the name of a repository, a user or an address.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.infra.temporary import METRICS_VARIABLE, Counted, ensure

# Every meter by its name, in the order in which modules were imported.
METERS: dict[str, _Meter] = {}

Labels = tuple[str, ...]
_started = False
_shared = False
_COUNTED = Counted()


class _Nothing:
    """What a meter counts with before `start`."""

    def inc(self, amount: float = 1) -> None: ...

    def set(self, value: float) -> None: ...

    def observe(self, amount: float) -> None: ...


_NOTHING = _Nothing()


class _Meter:
    kind = ""

    def __init__(
        self, name: str, help_: str, labels: Sequence[str] = (), *, known: Sequence[Labels] = ()
    ) -> None:
        """`known`: values of the labels that are shown from the start, so that a rate has a beginning."""
        self.name = name
        self.help = help_
        self.labels = tuple(labels)
        self._known = known
        self._children: dict[Labels, Any] = {}
        self._metric: Any = None
        METERS[name] = self
        if _started:
            # Of a module that is imported only where it is needed.
            self.ready()

    def make(self) -> Any:
        """The metric of prometheus_client."""
        raise NotImplementedError

    def ready(self) -> None:
        """Make the metric, with the labels that are known."""
        for values in self._known if self.labels else [()]:
            self._child(values)

    def _child(self, values: Labels) -> Any:
        # Looking up a labelled child of prometheus_client costs more than counting with it.
        found = self._children.get(values)
        if found is None:
            if not _started:
                return _NOTHING
            if self._metric is None:
                self._metric = self.make()
            found = self._metric.labels(*values) if self.labels else self._metric
            self._children[values] = found
        return found


class Counter(_Meter):
    """Only grows; its name ends with `_total`."""

    kind = "counter"

    def make(self) -> Any:
        """See _Meter.make."""
        from prometheus_client import Counter as Metric

        return Metric(self.name, self.help, self.labels)

    def inc(self, *labels: str, by: float = 1) -> None:
        """Count one, or `by`."""
        self._child(labels).inc(by)


class Gauge(_Meter):
    """Goes up and down; the sum over the living processes of an instance."""

    kind = "gauge"

    def make(self) -> Any:
        """See _Meter.make."""
        from prometheus_client import Gauge as Metric

        return Metric(self.name, self.help, self.labels, multiprocess_mode="livesum")

    def inc(self, *labels: str, by: float = 1) -> None:
        """Change by `by`, which may be negative."""
        self._child(labels).inc(by)

    def set(self, value: float, *labels: str) -> None:
        """The part of this process."""
        self._child(labels).set(value)


class Histogram(_Meter):
    """Seconds that something took."""

    kind = "histogram"
    buckets = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

    def make(self) -> Any:
        """See _Meter.make."""
        from prometheus_client import Histogram as Metric

        return Metric(self.name, self.help, self.labels, buckets=self.buckets)

    def observe(self, seconds: float, *labels: str) -> None:
        """Something took so long."""
        self._child(labels).observe(seconds)

    @contextlib.contextmanager
    def time(self, *labels: str) -> Iterator[None]:
        """Observe how long the block takes, however it ends."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._child(labels).observe(time.perf_counter() - started)


class Summary(_Meter):
    """Number and sum of seconds, without buckets: where there are many labels."""

    kind = "summary"

    def make(self) -> Any:
        """See _Meter.make."""
        from prometheus_client import Summary as Metric

        return Metric(self.name, self.help, self.labels)

    def observe(self, seconds: float, *labels: str) -> None:
        """Something took so long."""
        self._child(labels).observe(seconds)


def start() -> None:
    """Count from now on, in this process; before anything opens that counts, and after the fork."""
    global _started
    folder = os.environ.get(METRICS_VARIABLE)
    if folder:
        ensure(folder)
    _started = True
    for meter in list(METERS.values()):
        meter.ready()
    if folder:
        _COUNTED.watch(Path(folder))


def share() -> None:
    """Have processes count together in the folder that the environment names; before any metric is made."""
    global _shared
    if _shared:
        # A second class of values would write over what the first one has in the same files.
        return
    _shared = True
    from prometheus_client import values

    shared: Any = values.MultiProcessValue(_COUNTED.process)  # type: ignore[no-untyped-call]

    class Value(shared):  # type: ignore[misc]
        """Begins a file when it is the first of its kind in the process."""

        def __init__(self, *arguments: Any, **more: Any) -> None:
            ensure(os.environ[METRICS_VARIABLE])
            super().__init__(*arguments, **more)

    values.ValueClass = Value


@dataclass(frozen=True, slots=True)
class Family:
    """One figure of the whole cluster: a gauge with its samples (values of the labels, number)."""

    name: str
    help: str
    labels: Labels
    samples: tuple[tuple[Labels, float], ...]

    @classmethod
    def single(cls, name: str, help_: str, value: float) -> Family:
        """A figure without labels."""
        return cls(name, help_, (), (((), value),))


__all__ = ["METERS", "Counter", "Family", "Gauge", "Histogram", "Summary", "share", "start"]

if METRICS_VARIABLE in os.environ:
    # A job runner that was executed, not forked.
    share()
