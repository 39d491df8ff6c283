"""Traces: what a request or a job did, as spans (OpenTelemetry), and the context that connects them.

Off until `start`; until then every function here returns at its first line. A span begins inside another one,
or at a root: a request that comes in, a job, an event that is delivered. Work that no root has begun, such as
the polls of a runner, has none.

    with tracing.span("storage commit", driver="s3"):
        ...

The context goes on by `traceparent` (W3C Trace Context): in the headers of requests to others, and in the row
of a job or an event that a transaction makes. Names and attributes of spans say what was done, never with
which credentials: no header, no query of a URL, no text of an error.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
import time
from collections.abc import Callable, Iterable, MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float

# Version, trace id, span id, flags; what a later version adds is after another dash.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_LONGEST_PARENT = 256
# What the specification wants to be carried at least, and all that is.
_LONGEST_STATE = 512
_MOST_STATES = 32
_STATE = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MOST_ATTRIBUTES = 32
# Work may outlive the request that began it by so much and still be part of its trace. A task of the process
# that some request happened to start first is not.
_AFTERMATH_SECONDS = 30.0


class Parent:
    """Where a trace goes on: ids of the trace and of the span above, as numbers."""

    __slots__ = ("sampled", "span_id", "state", "trace_id")

    def __init__(self, trace_id: int, span_id: int, sampled: bool, state: str = "") -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled
        self.state = state


class Span:
    """A span under way; a context manager; inside of it, it is the current one.

    `began` and `ended` are Unix nanoseconds (ended 0: not yet), `error` the kind of its failure or "".
    """

    __slots__ = (
        "_root",
        "_started",
        "_token",
        "attributes",
        "began",
        "ended",
        "error",
        "kind",
        "name",
        "parent_id",
        "recording",
        "span_id",
        "state",
        "trace_id",
    )

    def __init__(
        self, name: str, kind: Kind, above: Span | Parent | None, attributes: dict[str, Value]
    ) -> None:
        """`above`: a span of this process, where the trace goes on from, or None for a trace that begins."""
        self.trace_id: int
        self.span_id: int = random.getrandbits(64) or 1
        if above is None:
            self.trace_id = random.getrandbits(128) or 1
            self.recording = self.trace_id & _LOW_BITS < _sampled_below
            self.parent_id = 0
            self.state = ""
        else:
            self.trace_id = above.trace_id
            self.recording = above.sampled if isinstance(above, Parent) else above.recording
            self.parent_id = above.span_id
            self.state = above.state
        self._root: Span = above._root if isinstance(above, Span) else self
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.error = ""
        self.ended = 0
        self._token: Any = None
        self.began = time.time_ns()
        self._started = time.perf_counter_ns()

    @property
    def alive(self) -> bool:
        """Whether new spans may go below it."""
        ended = self._root.ended
        return not ended or time.time_ns() - ended < _AFTERMATH_SECONDS * 1e9

    @property
    def traceparent(self) -> str:
        """The header that continues the trace below this span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.recording):02x}"

    def set(self, name: str, value: Value) -> None:
        """Set an attribute."""
        if self.recording and len(self.attributes) < _MOST_ATTRIBUTES:
            self.attributes[name] = value

    def add(self, name: str, value: float) -> None:
        """Add to an attribute that is a number."""
        self.set(name, self.attributes.get(name, 0) + value)  # type: ignore[operator]

    def fail(self, error: str) -> None:
        """Mark it as failed; `error`: few values, such as the name of an exception's class."""
        self.error = error

    def __enter__(self) -> Span:
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        # ValueError: a generator that is closed from another context, which never had this span.
        with contextlib.suppress(ValueError):
            _current.reset(self._token)
        if kind is not None and not self.error:
            self.fail(kind.__name__)
        self.ended = self.began + time.perf_counter_ns() - self._started
        if self.recording and _sink is not None:
            _sink(self)


class Nothing:
    """In place of a span where nothing is recorded."""

    recording = False

    def set(self, name: str, value: Value) -> None:
        """See Span.set."""

    def add(self, name: str, value: float) -> None:
        """See Span.add."""

    def fail(self, error: str) -> None:
        """See Span.fail."""

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None: ...


NOTHING = Nothing()
_LOW_BITS = (1 << 64) - 1
_current: ContextVar[Span | None] = ContextVar("span", default=None)
_sink: Callable[[Span], None] | None = None
_sampled_below = 0
_follow = True


def start(sink: Callable[[Span], None], sample_rate: float = 1.0, *, follow: bool = True) -> None:
    """Record from now on, in this process.

    `sink` takes each span that has ended; it must not wait. `sample_rate`: share of the traces that begin
    here which is recorded. `follow`: whether the trace of a request that comes in is continued.
    """
    global _sink, _sampled_below, _follow
    _sink, _sampled_below, _follow = sink, round(sample_rate * (1 << 64)), follow


def stop() -> None:
    """Record no more."""
    global _sink
    _sink = None


def started() -> bool:
    """Whether anything is traced."""
    return _sink is not None


def current() -> Span | None:
    """The span of this task, None where there is none or its trace is long over."""
    if _sink is None:
        return None
    found = _current.get()
    return found if found is not None and found.alive else None


def incoming(name: str, headers: Iterable[tuple[bytes, bytes]], **attributes: Value) -> Span | Nothing:
    """The span of a request, in the trace that its headers name (ASGI's form)."""
    if _sink is None:
        return NOTHING
    return Span(name, "server", parent_of(headers) if _follow else None, attributes)


def continued(name: str, traceparent: str | None, **attributes: Value) -> Span | Nothing:
    """The span of a job or an event; `traceparent`: of the change that made it, as the row has it."""
    if _sink is None:
        return NOTHING
    return Span(name, "consumer", read(traceparent or ""), attributes)


def span(name: str, kind: Kind = "internal", **attributes: Value) -> Span | Nothing:
    """A span below the current one, or nothing."""
    above = current()
    return Span(name, kind, above, attributes) if above is not None and above.recording else NOTHING


def transaction(verb: str, fn: Callable[..., Any], dialect: str) -> Span | Nothing:
    """The span of a transaction with the database, which is named as its function is."""
    above = current()
    if above is None or not above.recording:
        return NOTHING
    what = f"{verb} {_name_of(fn)}"
    return Span(f"db {what}", "client", above, {"db.system.name": dialect, "db.operation.name": what})


def carried(fn: Callable[..., T]) -> Callable[..., T]:
    """`fn` for another thread, with this task's span as its current one."""
    above = current()
    if above is None:
        return fn

    def with_span(*arguments: Any) -> T:
        token = _current.set(above)
        try:
            return fn(*arguments)
        finally:
            _current.reset(token)

    return with_span


def traceparent() -> str | None:
    """The current context as a job's or an event's row has it, None where there is none."""
    above = current()
    return None if above is None else above.traceparent


def inject(headers: MutableMapping[str, str]) -> None:
    """Put the current context into the headers of a request to another server."""
    above = current()
    if above is None:
        return
    headers["traceparent"] = above.traceparent
    if above.state:
        headers["tracestate"] = above.state


def log_context(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For structlog: add `trace_id` and `span_id` to what is logged inside a span."""
    above = current()
    if above is not None:
        event["trace_id"] = f"{above.trace_id:032x}"
        event["span_id"] = f"{above.span_id:016x}"
    return event


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """What the headers of a request say; None where that is not exactly one valid `traceparent`."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1:
        return None
    found = read(parents[0].decode("latin-1").strip(" \t"))
    if found is not None and states:
        found.state = _state_of(states)
    return found


def read(value: str) -> Parent | None:
    """A `traceparent`; None for anything that is not valid."""
    match = _TRACEPARENT.fullmatch(value) if len(value) <= _LONGEST_PARENT else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))
    return parent if parent.trace_id and parent.span_id else None


def _state_of(values: list[bytes]) -> str:
    """A `tracestate`, "" for one that is too long or not valid; the trace goes on without it."""
    if sum(map(len, values)) + len(values) > _LONGEST_STATE:
        return ""
    members = [item.strip(" \t") for item in b",".join(values).decode("latin-1").split(",")]
    members = [item for item in members if item]
    keys = {item.partition("=")[0] for item in members}
    if len(members) > _MOST_STATES or len(keys) < len(members):
        return ""
    return ",".join(members) if all(_STATE.fullmatch(item) for item in members) else ""


def _name_of(fn: Callable[..., Any]) -> str:
    """`link_blob` for a function of that name, `JobService.get` for a lambda in that method."""
    if isinstance(fn, functools.partial):
        fn = fn.func
    parts = [part for part in getattr(fn, "__qualname__", "statement").split(".") if part != "<locals>"]
    if parts[-1] != "<lambda>":
        return parts[-1]
    return ".".join(part for part in parts[-3:] if part != "<lambda>") or "statement"
