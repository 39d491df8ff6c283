"""The outermost layer of a server process: request ids, access log, counters, limits, and the last resort."""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall.infra import exemplars, telemetry, tracing
from seawall.infra.db import faults
from seawall.infra.settings import Http
from seawall.kernel.errors import RegistryError, StorageFullError, UnavailableError
from seawall.kernel.headers import by_name
from seawall.kernel.presence import presence
from seawall.process.answering import Exchange
from seawall.process.pacing import Pace
from seawall.process.tally import TALLY
from seawall.web.harbor.app import PREFIX as API_PREFIX
from seawall.web.harbor.app import WORDS as API_WORDS
from seawall.web.harbor.app import clean_path
from seawall.web.harbor.errors import RETRY_AFTER, envelope
from seawall.web.oci.http import error_response

log: Any = structlog.get_logger("seawall")

# Under the names of Harbor's core; `operation` is that of the API's description.
CORE_REQUESTS = telemetry.Counter(
    "harbor_core_http_request_total", "Requests of the management API", ["method", "code", "operation"]
)
CORE_SECONDS = telemetry.Summary(
    "harbor_core_http_request_duration_seconds",
    "Time to answer a request of the management API",
    ["method", "operation"],
)
# What else comes as a method is counted as one: a label for each would grow without bound.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

# Browsers that were here over https come back over https only (RFC 6797), for a year.
_HSTS = (b"strict-transport-security", b"max-age=31536000")

_STREAM = b"text/event-stream"


class Edge:
    """Outermost layer: gives each request an id, logs and counts it, and turns surprises into a 500."""

    def __init__(
        self, app: ASGIApp, *, access_log: bool, http: Http, https: bool = False, sample: float = 1.0
    ) -> None:
        """`https`: whether clients reach this server over TLS even where a balancer ends it.

        `sample`: share of the reads that succeed which is logged.
        """
        self._sample = sample
        self._app = app
        self._https = https
        self._access_log = access_log
        self._http = http
        self._under_way = 0
        self._of_address: dict[str, int] = {}
        self._pace = Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = clean_path(scope)
        if not tracing.started() or scope["path"] in _PROBES:
            await self._serve(scope, receive, send, _request_id(scope), tracing.NOTHING)
            return
        method, route = _method(scope), _route(scope["path"])
        request_id = _request_id(scope)
        peer = scope.get("client")
        attributes: dict[str, str] = {
            "http.request.method": method,
            "http.route": route,
            "url.path": scope["path"],
            "client.address": peer[0] if peer else "",
            "seawall.request_id": request_id,
        }
        with tracing.incoming(f"{method} {route}", scope["headers"], **attributes) as span:
            await self._serve(scope, receive, send, request_id, span)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        span: tracing.Span | tracing.Nothing,
    ) -> None:
        started = time.perf_counter()
        status = 0
        # Bytes in and out; a file that the server sends by itself is as long as the answer's head says.
        received = sent = length = 0
        # When the head of an answer left whose body has no end: its reader says how long that takes.
        began: float | None = None

        def note(message: Message) -> None:
            nonlocal status, sent, length, began
            kind = message["type"]
            if kind == "http.response.body":
                sent += len(message.get("body", b""))
            elif kind == "http.response.pathsend":
                sent += length
            elif kind == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                for name, value in headers:
                    if name == b"content-length":
                        length = int(value)
                    elif name == b"content-type" and value.startswith(_STREAM):
                        began = time.perf_counter()
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
                if self._https or scope.get("scheme") == "https":
                    message["headers"].append(_HSTS)

        exchange = Exchange(scope, receive, send, note)
        here = presence.set(exchange)
        expecting = exchange.coming

        async def receive_in_time() -> Message:
            # Who sends no more of a body is treated as if the connection were closed. After the body's end,
            # `receive` waits for the client to go away, which may take as long as the answer does.
            nonlocal expecting, received
            if not expecting:
                return await exchange.receive()
            try:
                async with asyncio.timeout(self._http.body_silence_seconds):
                    message = await exchange.receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            expecting = bool(message.get("more_body"))
            received += len(message.get("body", b""))
            return message

        peer = scope.get("client")
        address = peer[0] if peer else ""
        probing = scope["path"] in _PROBES
        TALLY.begun()
        if not probing:
            self._under_way += 1
            self._of_address[address] = self._of_address.get(address, 0) + 1
        try:
            if not probing:
                self._bound(address)
                await self._pace.begin()
            await self._app(scope, receive_in_time if expecting else exchange.receive, exchange.send)
        except Exception as error:
            code, answer = _answer(error, request_id)
            if code >= 500 and not isinstance(error, UnavailableError | RegistryError):
                # The stack trace goes to the log under the request id; the client gets the id only.
                log.exception("request failed", request_id=request_id, path=scope["path"])
            else:
                log.warning("request refused", request_id=request_id, path=scope["path"], error=str(error))
            if not status:
                if scope["path"].startswith(("/api/", "/c/")):
                    await envelope(code, answer.message, headers=answer.headers)(
                        scope, receive, exchange.send
                    )
                else:
                    await error_response(answer).send(scope, exchange.send)
        finally:
            presence.reset(here)
            exchange.close()
            if not probing:
                self._under_way -= 1
                left = self._of_address[address] - 1
                if left:
                    self._of_address[address] = left
                else:
                    del self._of_address[address]
            elapsed = (began or time.perf_counter()) - started
            route = _route(scope["path"])
            method = _method(scope)
            if span is not tracing.NOTHING:
                span.set("http.response.status_code", status or 499)
                if status >= 500:
                    span.fail(str(status))
            if method == "HEAD":
                sent = 0
            TALLY.ended(method, route, status or 499, elapsed, received, sent)
            if isinstance(span, tracing.Span) and span.recording:
                exemplars.note((method, route), elapsed, f"{span.trace_id:032x}")
            if route.startswith(API_PREFIX):
                operation = scope.get("seawall.operation", "")
                CORE_REQUESTS.inc(method, str(status or 499), operation)
                CORE_SECONDS.observe(elapsed, method, operation)
            if self._access_log and self._logged(scope["method"], status or 499):
                client = scope.get("client")
                log.info(
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"],
                    status=status or 499,
                    seconds=round(elapsed, 6),
                    client=client[0] if client else None,
                )

    def _logged(self, method: str, status: int) -> bool:
        read = method in ("GET", "HEAD") and status < 400
        return not read or self._sample >= 1 or random.random() < self._sample  # noqa: S311 - no secret

    def _bound(self, address: str) -> None:
        """Raise RegistryError when too much is under way, in all or of one address."""
        most = self._http.requests_per_address
        if most and self._of_address[address] > most:
            raise RegistryError(
                "TOOMANYREQUESTS", "too many requests at once from this address", headers={"Retry-After": "1"}
            )
        if self._under_way > self._http.requests:
            raise RegistryError(
                "UNAVAILABLE", "too many requests at once", headers={"Retry-After": RETRY_AFTER}
            )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _answer(error: Exception, request_id: str) -> tuple[int, RegistryError]:
    """(HTTP status, error to tell) for what no door has answered."""
    if isinstance(error, RegistryError):
        return error.status, error
    if isinstance(error, ClientDisconnect):
        return 400, RegistryError("SIZE_INVALID", "the request's body ended early")
    if isinstance(error, StorageFullError):
        return 507, RegistryError("UNAVAILABLE", str(error), status=507)
    if isinstance(error, UnavailableError):
        return 503, RegistryError("UNAVAILABLE", str(error), headers={"Retry-After": RETRY_AFTER})
    found = faults.status(error)
    if found is not None:
        code = "CONFLICT" if found[0] == 409 else "UNSUPPORTED"
        return found[0], RegistryError(code, found[1], status=found[0])
    return 500, RegistryError("UNKNOWN", f"internal error; request {request_id}")


def _request_id(scope: Scope) -> str:
    given = by_name(scope).get(b"x-request-id")
    if given is not None and re.fullmatch(rb"[A-Za-z0-9._-]{1,64}", given):
        return bytes(given).decode()
    # Nobody relies on it being hard to guess.
    return f"{random.getrandbits(128):032x}"


def _route(path: str) -> str:
    # Few fixed values: a label per repository would grow without bound.
    if path.startswith("/v2/"):
        for part in ("/blobs/uploads", "/manifests/", "/blobs/", "/tags/list", "/referrers/"):
            if part in path:
                return "/v2/*" + part.rstrip("/")
        return "/v2/"
    if path.startswith(API_PREFIX + "/"):
        # The first word: projects, users, ...; anything longer has names in it.
        word = path[len(API_PREFIX) + 1 :].partition("/")[0]
        return f"{API_PREFIX}/{word}" if word in API_WORDS else "other"
    return path if path in ("/healthz", "/readyz", "/metrics", "/service/token", "/service/jwks") else "other"
