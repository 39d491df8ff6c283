"""The ASGI application of one server process: routes, request ids, access log, metrics, health."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from prometheus_client import REGISTRY as DEFAULT_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall import __version__
from seawall.access.ldap import Directory
from seawall.access.oidc import OidcService
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.peers.service import PeerService
from seawall.availability.peers.wire import PATH as PEER_PATH
from seawall.availability.sites.service import DrService
from seawall.features.audit.trail import AuditTrail
from seawall.features.preheat.service import Preheat
from seawall.features.replication.service import Replication
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.service import TrustService
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database, faults
from seawall.infra.jobs.service import JobService
from seawall.infra.loading import load
from seawall.infra.outbox.events import Subscribers
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Http, Settings
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError, StorageFullError, UnavailableError
from seawall.process.answering import Exchange
from seawall.process.redirect import Redirect
from seawall.process.stderr import StandardError
from seawall.process.wiring import Process, open_process
from seawall.registry.artifacts import ArtifactService
from seawall.web.harbor.app import PREFIX as API_PREFIX
from seawall.web.harbor.app import build_api, clean_path
from seawall.web.harbor.deps import Gate
from seawall.web.harbor.errors import RETRY_AFTER, envelope
from seawall.web.harbor.sessions import BrowserSessions
from seawall.web.internal.ca import ca_routes
from seawall.web.internal.peers import PeerEndpoint, changes_something
from seawall.web.internal.probe import probe_routes
from seawall.web.internal.proxy import TrustedProxies
from seawall.web.internal.scanner_adapter import routes as scan_adapter_routes
from seawall.web.internal.sites import dr_routes
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.app import OciApp, UploadsForPeers
from seawall.web.oci.http import error_response
from seawall.web.oci.notary import NotaryApp
from seawall.web.oci.token import TokenEndpoint
from seawall.web.portal import portal_routes

log: Any = structlog.get_logger("seawall")

REQUESTS = Counter("seawall_http_requests_total", "HTTP requests", ["method", "route", "status"])
SECONDS = Histogram("seawall_http_request_seconds", "Time to answer a request", ["method", "route"])
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
ACTIVE = Gauge("seawall_http_requests_active", "Requests being served", multiprocess_mode="livesum")


def configure_logging(settings: Settings) -> None:
    """Structured logs to standard error, one JSON object a line (or coloured text)."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log.format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


# Browsers that were here over https come back over https only (RFC 6797), for a year.
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """Outermost layer: gives each request an id, logs and counts it, and turns surprises into a 500."""

    def __init__(self, app: ASGIApp, *, access_log: bool, http: Http, https: bool = False) -> None:
        """`https`: whether clients reach this server over TLS even where a balancer ends it."""
        self._app = app
        self._https = https
        self._access_log = access_log
        self._http = http
        self._under_way = 0
        self._of_address: collections.Counter[str] = collections.Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = clean_path(scope)
        request_id = _request_id(scope)
        exchange = Exchange(scope, receive, send)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                if self._https or scope.get("scheme") == "https":
                    message["headers"].append(_HSTS)
            await exchange.send(message)

        expecting = _has_body(scope)

        async def receive_in_time() -> Message:
            # Who sends no more of a body is treated as if the connection were closed. After the body's end,
            # `receive` waits for the client to go away, which may take as long as the answer does.
            nonlocal expecting
            if not expecting:
                return await exchange.receive()
            try:
                async with asyncio.timeout(self._http.body_silence_seconds):
                    message = await exchange.receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            expecting = bool(message.get("more_body"))
            return message

        peer = scope.get("client")
        address = peer[0] if peer else ""
        probing = scope["path"] in _PROBES
        ACTIVE.inc()
        if not probing:
            self._under_way += 1
            self._of_address[address] += 1
        try:
            if not probing:
                self._bound(address)
            await self._app(scope, receive_in_time if expecting else exchange.receive, send_with_id)
        except Exception as error:
            code, answer = _answer(error, request_id)
            if code >= 500 and not isinstance(error, UnavailableError):
                # The stack trace goes to the log under the request id; the client gets the id only.
                log.exception("request failed", request_id=request_id, path=scope["path"])
            else:
                log.warning("request refused", request_id=request_id, path=scope["path"], error=str(error))
            if not status:
                if scope["path"].startswith(("/api/", "/c/")):
                    await envelope(code, answer.message, headers=answer.headers)(scope, receive, send_with_id)
                else:
                    await error_response(answer).send(scope, send_with_id)
        finally:
            ACTIVE.dec()
            if not probing:
                self._under_way -= 1
                self._of_address[address] -= 1
                if not self._of_address[address]:
                    del self._of_address[address]
            elapsed = time.perf_counter() - started
            route = _route(scope["path"])
            requests, seconds = _counters(scope["method"], route, status or 499)
            requests.inc()
            seconds.observe(elapsed)
            if self._access_log:
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


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


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


@functools.lru_cache(maxsize=1024)
def _counters(method: str, route: str, status: int) -> tuple[Any, Any]:
    # Looking up a labelled child costs more than counting with it.
    return REQUESTS.labels(method, route, str(status)), SECONDS.labels(method, route)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and re.fullmatch(rb"[A-Za-z0-9._-]{1,64}", value):
            return bytes(value).decode()
    return os.urandom(16).hex()


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
        return f"{API_PREFIX}/{word}" if re.fullmatch(r"[A-Za-z0-9-]{1,20}", word) else "other"
    return path if path in ("/healthz", "/readyz", "/metrics", "/service/token", "/service/jwks") else "other"


def open_api(process: Process) -> ASGIApp:
    """Harbor's API over the objects of a process."""
    browsers = BrowserSessions(process.sessions, process.auth, process.keys, process.settings.external_url)
    gate = Gate(
        process.db,
        process.callers,
        browsers,
        process.audit,
        process.configuration,
    )
    offered: dict[Any, object] = {
        ArtifactService: process.artifacts,
        AuditTrail: process.audit,
        AuthService: process.auth,
        BlobStorage: process.storage,
        BrowserSessions: browsers,
        Configuration: process.configuration,
        Database: process.db,
        Directory: process.directory,
        DrService: process.dr,
        InstanceRegistry: process.instances,
        JobService: process.jobs,
        KeyRing: process.keys,
        OidcService: process.oidc,
        PeerService: process.peers,
        Preheat: process.preheat,
        RedisClient: process.redis,
        Replication: process.replication,
        Scanning: process.scan,
        SessionStore: process.sessions,
        Settings: process.settings,
        Subscribers: process.events,
        TrustService: process.trust,
    }
    return build_api(offered, gate, browsers)


def build(settings: Settings) -> ASGIApp:
    """The application for `settings`; database and storage are opened, the schema must be migrated."""
    configure_logging(settings)
    process = open_process(settings, serving=True)
    redirect = Redirect(settings)
    routes: list[BaseRoute] = []
    if process.auth.required:
        endpoint = TokenEndpoint(
            process.callers, process.auth, process.tokens, settings.external_url, process.configuration
        )
        routes.append(Route("/service/token", endpoint.serve, methods=["GET", "POST"]))

    async def jwks(_request: Request) -> Response:
        # Short, for verifiers must hear of a new key before it is used (keys.publish_seconds).
        seconds = max(1, int(settings.keys.publish_seconds / 2))
        headers = {"Cache-Control": f"public, max-age={seconds}"}
        return JSONResponse(process.keys.jwks(), headers=headers)

    for path in ("/service/jwks", "/.well-known/jwks.json"):
        routes.append(Route(path, jwks, methods=["GET"]))

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def readyz(request: Request) -> Response:
        # HAProxy takes 404 for "nothing new, but let it finish what it has" (http-check disable-on-404).
        unready = 404 if request.query_params.get("unready") == "404" else 503
        status, parts = await process.health.check()
        # For a balancer before two sites: only where writes are taken.
        if "writes" in request.query_params and status in ("ok", "degraded"):
            with contextlib.suppress(UnavailableError):
                if not await process.dr.writable():
                    status = "standby"
        return JSONResponse(
            {"status": status, "checks": parts}, 200 if status in ("ok", "degraded") else unready
        )

    async def metrics(_request: Request) -> Response:
        registry = DEFAULT_REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            # Each server process counts for itself; the answer is their sum, whichever one is asked.
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await process.start()
        await redirect.start()
        yield
        await redirect.close()
        await process.close()

    routes += [
        *ca_routes(settings),
        *probe_routes(process.probe),
        *dr_routes(process.dr, process.db, process.storage, process.content, settings.database_url),
        *scan_adapter_routes(process.scan_requests, settings.scan.adapter_token),
    ]
    routes += portal_routes()
    routes += [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    rest = Starlette(routes=routes, lifespan=lifespan)
    access = RegistryAccess(process.callers, settings.external_url, process.configuration)
    oci = OciApp(process.registry, access, manifest_limit=settings.limits.manifest_bytes)
    notary = NotaryApp(access, process.notary)
    api = open_api(process)

    peer_endpoint = None
    if process.peers.enabled:
        uploads = UploadsForPeers(process.content, access)
        peer_endpoint = PeerEndpoint(process.peers, process.content, process.keys, uploads)

    async def root(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if peer_endpoint is not None and scope["type"] == "http":
            if path.startswith(PEER_PATH):
                await peer_endpoint(scope, receive, send)
                return
            if changes_something(scope["method"], path):
                send = process.peers.settler.settling(send)
        if scope["type"] == "http":
            client = scope.get("client")
            try:
                await process.rates.check_address(path, client[0] if client else "")
            except RegistryError as error:
                # Harbor's envelope names the code otherwise than the Distribution spec does.
                if path.startswith(("/api/", "/c/")):
                    answer = envelope(error.status, error.message, headers=error.headers)
                    await answer(scope, receive, send)
                else:
                    await error_response(error).send(scope, send)
                return
        if scope["type"] == "http" and (path == "/v2" or path.startswith("/v2/")):
            await (notary if "/_trust/" in path else oci)(scope, receive, send)
        elif scope["type"] == "http" and path.startswith((API_PREFIX + "/", "/c/")):
            await api(scope, receive, send)
        else:
            await rest(scope, receive, send)

    https = (settings.external_url or "").startswith("https://")
    edge = Edge(root, access_log=settings.log.access, http=settings.http, https=https)
    return TrustedProxies(edge, tuple(settings.http.trusted_proxies))


def create() -> ASGIApp:
    """Factory that server processes import; settings come from the parent through the environment."""
    settings = load(None, json.loads(os.environ["SEAWALL_RESOLVED_SETTINGS"]))
    return build(settings)
