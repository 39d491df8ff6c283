"""The ASGI application of one server process: routes, request ids, access log, metrics, health."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from seawall import __version__
from seawall.access.erasure import Erasure
from seawall.access.ldap import Directory
from seawall.access.logins import Logins
from seawall.access.oidc import OidcService
from seawall.access.second_factor import SecondFactors
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore
from seawall.access.sources import Sources
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.peers.service import PeerService
from seawall.availability.peers.wire import PATH as PEER_PATH
from seawall.availability.sites.service import DrService
from seawall.features.audit.trail import AuditTrail
from seawall.features.preheat.service import Preheat
from seawall.features.replication.service import Replication
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.service import TrustService
from seawall.infra import telemetry, tracing
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database, fence
from seawall.infra.jobs.service import JobService
from seawall.infra.loading import load
from seawall.infra.outbox.events import Subscribers
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError, SeawallError, UnavailableError
from seawall.kernel.interrupt import release
from seawall.process import traces
from seawall.process.edge import Edge
from seawall.process.redirect import Redirect
from seawall.process.stderr import StandardError
from seawall.process.tally import TALLY
from seawall.process.wiring import Process, open_process
from seawall.registry.artifacts import ArtifactService
from seawall.registry.stored import has_none
from seawall.web.harbor.app import PREFIX as API_PREFIX
from seawall.web.harbor.app import build_api
from seawall.web.harbor.deps import Gate
from seawall.web.harbor.errors import envelope
from seawall.web.harbor.sessions import BrowserSessions
from seawall.web.harbor.streams import Streams
from seawall.web.internal.ca import ca_routes
from seawall.web.internal.metrics import MetricsEndpoint, metrics_routes
from seawall.web.internal.peers import PeerEndpoint, changes_something
from seawall.web.internal.probe import probe_routes
from seawall.web.internal.proxy import TrustedProxies
from seawall.web.internal.scanner_adapter import routes as scan_adapter_routes
from seawall.web.internal.sites import dr_routes
from seawall.web.oauth import OAuthEndpoint
from seawall.web.oci.accelerate import Accelerator, NoAccelerator
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.app import OciApp, UploadsForPeers
from seawall.web.oci.http import error_response
from seawall.web.oci.notary import NotaryApp
from seawall.web.oci.token import TokenEndpoint
from seawall.web.oci.turns import Turns
from seawall.web.portal import portal_routes

log: Any = structlog.get_logger("seawall")
# How long after its start a server process takes signals.
_SERVING_SECONDS = 0.5
# How long the first look at the storage may hold up the start, and the time between later ones.
_FIRST_LOOK_SECONDS = 2.0
_LOOK_SECONDS = 5.0
# Requests of pushes at a time with SQLite, which commits those that come together at once.
_PLACES = 64


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
            *([tracing.log_context] if settings.trace.enabled else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


def open_api(process: Process) -> ASGIApp:
    """Harbor's API over the objects of a process."""
    browsers = BrowserSessions(
        process.sessions, process.auth, process.keys, process.sources, process.settings.external_url
    )
    gate = Gate(
        process.db,
        process.callers,
        browsers,
        process.audit,
        process.configuration,
        process.content.writes.elsewhere,
    )
    offered: dict[Any, object] = {
        ArtifactService: process.artifacts,
        AuditTrail: process.audit,
        Erasure: process.erasure,
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
        Logins: process.logins,
        OidcService: process.oidc,
        PeerService: process.peers,
        Preheat: process.preheat,
        RedisClient: process.redis,
        Replication: process.replication,
        Scanning: process.scan,
        SecondFactors: process.factors,
        SessionStore: process.sessions,
        Settings: process.settings,
        Sources: process.sources,
        Streams: Streams(
            process.db,
            process.feed,
            process.sessions,
            process.sources,
            process.health.draining,
            most=process.settings.http.streams,
            most_of_caller=process.settings.http.streams_per_user,
        ),
        Subscribers: process.events,
        TrustService: process.trust,
    }
    return build_api(offered, gate, browsers)


def build(settings: Settings) -> ASGIApp:
    """The application for `settings`; database and storage are opened, the schema must be migrated."""
    configure_logging(settings)
    telemetry.start()
    end_tracing = traces.begin(settings, "seawall")
    process = open_process(settings, serving=True)
    redirect = Redirect(settings)
    routes: list[BaseRoute] = []
    if process.auth.required:
        endpoint = TokenEndpoint(
            process.callers,
            process.auth,
            process.tokens,
            settings.external_url,
            process.configuration,
            process.mirror,
            process.virtual,
        )
        routes.append(Route("/service/token", endpoint.serve, methods=["GET", "POST"]))
        routes += OAuthEndpoint(process.logins, process.configuration, settings.external_url).routes()

    async def jwks(_request: Request) -> Response:
        # Short, for verifiers must learn of a new key before it is used (keys.publish_seconds).
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

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await process.start()
        await redirect.start()
        looking = asyncio.create_task(_look_at_storage(process))
        await asyncio.wait({looking}, timeout=_FIRST_LOOK_SECONDS)
        # Granian loses a signal that comes before it serves, which it begins when this is done.
        asyncio.get_running_loop().call_later(_SERVING_SECONDS, release)
        yield
        TALLY.write()
        looking.cancel()
        await redirect.close()
        await process.close()
        await asyncio.to_thread(end_tracing)

    routes += [
        *ca_routes(settings),
        *probe_routes(process.probe),
        *dr_routes(process.dr, process.db, process.storage, process.content, settings.database_url),
        *scan_adapter_routes(process.scan_requests, settings.scan.adapter_token),
    ]
    routes += portal_routes()
    routes += [Route("/healthz", healthz), Route("/readyz", readyz)]
    routes += metrics_routes(
        MetricsEndpoint(
            settings,
            process.figures,
            process.health,
            process.configuration,
            process.db.dialect,
            TALLY.write,
        )
    )
    rest = Starlette(routes=routes, lifespan=lifespan)
    access = RegistryAccess(process.callers, settings.external_url, process.configuration, process.mirror)
    oci = OciApp(
        process.registry,
        access,
        process.mirror,
        process.virtual,
        manifest_limit=settings.limits.manifest_bytes,
        accelerator=_accelerator(settings),
        turns=Turns(
            places=_places(settings),
            waiting=settings.http.pushes_waiting,
            seconds=settings.http.push_wait_seconds,
        ),
    )
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
        if scope["type"] == "http" and process.rates.by_address:
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
    edge = Edge(
        root,
        access_log=settings.log.access,
        http=settings.http,
        https=https,
        sample=settings.log.access_sample,
    )
    return TrustedProxies(edge, tuple(settings.http.trusted_proxies))


async def _look_at_storage(process: Process) -> None:
    """Keep requests away while the storage is not the one that the database speaks of.

    What is pushed there would be lost to others, and to this instance once the share is mounted.
    """
    while True:
        try:
            # A standby's is filled after the database.
            await process.db.read(fence.check)
            looked = await has_none(process.db, process.storage)
        except Exception as error:
            # The probe says what does not answer.
            log.debug("storage was not looked at", error=str(error))
            if not process.health.wrong_storage:
                return
        else:
            if not looked:
                break
            if not process.health.wrong_storage:
                log.error(
                    "storage has none of the blobs that the database names; is it mounted?", blobs=looked
                )
            process.health.wrong_storage = f"has none of {looked} blobs that the database names"
        await asyncio.sleep(_LOOK_SECONDS)
    if process.health.wrong_storage:
        process.health.wrong_storage = ""
        log.info("storage has blobs that the database names")


def _places(settings: Settings) -> int:
    """How many requests of pushes are worked on at a time: each must find a connection within seconds."""
    if settings.http.pushes is not None:
        return settings.http.pushes
    return _PLACES if settings.database_url.startswith("sqlite") else 2 * settings.database.pool_size


def _accelerator(settings: Settings) -> Accelerator | NoAccelerator:
    if settings.http.accelerate is None:
        return NoAccelerator()
    return Accelerator(settings.http.accelerate, settings.storage_root)


def create() -> ASGIApp:
    """Factory that server processes import; settings come from the parent through the environment."""
    try:
        return build(load(None, json.loads(os.environ["SEAWALL_RESOLVED_SETTINGS"])))
    except SeawallError as error:
        # A line here as from the command line, which this process does not go back to.
        print(f"seawall: {error}", file=sys.stderr)
        sys.exit(1)
