"""Spans on their way to a collector: OTLP over HTTP, protobuf. Imported only where `trace.enabled` says so.

A request must never notice the collector. A span that ends goes into a queue of `trace.queue` places, or is
dropped and counted where none is free. One thread sends what is queued; it alone waits for a collector that
is away or hangs, and what cannot be sent is counted as failed and forgotten.

The messages are few and fixed, so they are written here. OpenTelemetry's SDK takes about 100 us for a span
and brings eight packages; this takes a tenth and none. `tests` decode it with OpenTelemetry's own schema.

Source: https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto's trace.proto
"""

from __future__ import annotations

import collections
import gzip
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx
import structlog

from seawall import __version__
from seawall.infra import tracing
from seawall.infra.outgoing import trusted
from seawall.infra.settings import TraceSettings
from seawall.infra.telemetry import Counter
from seawall.infra.tracing import Span, Value

log: Any = structlog.get_logger("seawall")

SPANS = Counter(
    "seawall_trace_spans_total",
    "Spans by result: sent, dropped (the queue was full), failed (the collector refused them)",
    ["result"],
    known=[("sent",), ("dropped",), ("failed",)],
)

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_BATCH = 512
_SEND_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
# A collector that says "later" is asked again so often, and one that stays away is logged so often.
_ATTEMPTS = 3
_COMPLAIN_SECONDS = 60.0
_AGAIN = frozenset({429, 502, 503, 504})
_LONGEST_ANSWER = 65536
_LONGEST_VALUE = 256


class Sender:
    """The queue of ended spans, and the thread that empties it; tracing starts with it.

    To be made after the fork of a process, since its thread would not survive one.
    """

    def __init__(self, settings: TraceSettings, service: str) -> None:
        """`service`: name of this process in traces."""
        self._url = settings.url()
        self._size = settings.queue
        self._seconds = settings.timeout_seconds
        self._headers = {**settings.headers, "Content-Type": "application/x-protobuf"}
        self._compress = settings.compression
        if self._compress:
            self._headers["Content-Encoding"] = "gzip"
        host = socket.gethostname()
        attributes: dict[str, Value] = {
            **settings.attributes,
            "service.name": service,
            "service.version": __version__,
            "service.instance.id": f"{host}-{os.getpid()}",
            "host.name": host,
        }
        if settings.namespace:
            attributes["service.namespace"] = settings.namespace
        self._resource = resource(attributes)
        self._queue: collections.deque[Span] = collections.deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._complained = -_COMPLAIN_SECONDS
        # No proxies of the environment and no .netrc: the collector is where the settings say.
        self._http = httpx.Client(timeout=self._seconds, trust_env=False, verify=trusted())
        self._thread = threading.Thread(target=self._run, name="trace-export", daemon=True)
        self._thread.start()
        tracing.start(self.take, settings.sample_rate, follow=settings.follow)

    def take(self, span: Span) -> None:
        """Queue a span that has ended; never waits."""
        if len(self._queue) >= self._size:
            SPANS.inc("dropped")
            return
        self._queue.append(span)
        if len(self._queue) == _BATCH:
            self._wake.set()

    def close(self) -> None:
        """Record no more, and send what waits, for two seconds at most."""
        tracing.stop()
        self._closing.set()
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            closing = self._closing.is_set()
            self._wake.clear()
            while self._queue:
                self._send([self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))])
            if closing:
                return
            self._wake.wait(_SEND_SECONDS)

    def _send(self, batch: list[Span]) -> None:
        reason = ""
        try:
            body = message(self._resource, batch)
            body = gzip.compress(body, 1) if self._compress else body
            deadline = time.monotonic() + self._seconds
            for attempt in range(_ATTEMPTS):
                reason, again = self._post(body, deadline)
                if not again or self._closing.wait(random.uniform(0.5, 1) * 2**attempt):  # noqa: S311
                    break
        except Exception as error:
            reason = type(error).__name__
        SPANS.inc("failed" if reason else "sent", by=len(batch))
        now = time.monotonic()
        if reason and now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            log.warning("spans cannot be sent", spans=len(batch), error=reason)

    def _post(self, body: bytes, deadline: float) -> tuple[str, bool]:
        """Why it failed, "" for sent, and whether it may be tried again."""
        try:
            with self._http.stream("POST", self._url, content=body, headers=self._headers) as response:
                # To its end, so that the connection is used again; one that goes on for ever is closed.
                size = 0
                for piece in response.iter_raw():
                    size += len(piece)
                    if size > _LONGEST_ANSWER or time.monotonic() > deadline:
                        break
                if response.status_code < 300:
                    return "", False
                return f"the collector answers {response.status_code}", response.status_code in _AGAIN
        except httpx.HTTPError as error:
            return type(error).__name__, isinstance(error, httpx.ConnectError)


# -- protobuf ------------------------------------------------------------------------------------------


def resource(attributes: dict[str, Value]) -> bytes:
    """Resource: what all spans of a process have in common."""
    return _attributes(1, attributes)


def message(of: bytes, spans: Iterable[Span]) -> bytes:
    """ExportTraceServiceRequest; `of`: the resource."""
    scope = _bytes(1, _text(1, "seawall") + _text(2, __version__))
    found = b"".join(_bytes(2, _span(item)) for item in spans)
    return _bytes(1, _bytes(1, of) + _bytes(2, scope + found))


def _span(span: Span) -> bytes:
    parts = [
        _bytes(1, span.trace_id.to_bytes(16, "big")),
        _bytes(2, span.span_id.to_bytes(8, "big")),
        _text(3, span.state) if span.state else b"",
        _bytes(4, span.parent_id.to_bytes(8, "big")) if span.parent_id else b"",
        _text(5, span.name),
        _number(6, _KINDS[span.kind]),
        _fixed64(7, span.began),
        _fixed64(8, span.ended),
        _attributes(9, span.attributes),
    ]
    if span.error:
        # STATUS_CODE_ERROR
        parts += [_attributes(9, {"error.type": span.error}), _bytes(15, _number(3, 2))]
    return b"".join(parts)


def _attributes(field: int, values: dict[str, Value]) -> bytes:
    # A copy: a thread that outlived its request may still set one.
    return b"".join(
        _bytes(field, _text(1, name) + _bytes(2, _value(value))) for name, value in list(values.items())
    )


def _value(value: Value) -> bytes:
    if isinstance(value, bool):
        return _number(2, int(value))
    if isinstance(value, int):
        return _number(3, value)
    if isinstance(value, float):
        return _varint(4 << 3 | 1) + struct.pack("<d", value)
    return _text(1, value[:_LONGEST_VALUE])


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode("utf-8", "replace"))


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _fixed64(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<Q", value)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
