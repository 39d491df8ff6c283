"""The FastAPI application of Harbor's API, at `/api/v2.0`, and of the portal's login at `/c`."""

from __future__ import annotations

import copy
import re
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall import __version__
from seawall.web.harbor import (
    artifacts,
    auditlog,
    dr,
    errors,
    gc,
    ha,
    immutability,
    jobservice,
    labels,
    ldap,
    live,
    login,
    logins,
    members,
    oidc,
    peers,
    preheat,
    project_metadata,
    projects,
    purge,
    quotas,
    replication,
    repositories,
    retention,
    robots,
    scan,
    search,
    second_factor,
    sources,
    system,
    tokens,
    trust,
    users,
    webhooks,
)
from seawall.web.harbor.deps import Gate
from seawall.web.harbor.errors import Errors, envelope
from seawall.web.harbor.needs import Offered, offer
from seawall.web.harbor.sessions import BrowserSessions

PREFIX = "/api/v2.0"
# Request bodies are small JSON documents; certificates and scripts fit well below this (bytes).
BODY_LIMIT = 4 * 1024 * 1024

# Every domain's routes; one line each.
ROUTERS: list[APIRouter] = [
    projects.router,
    project_metadata.router,
    jobservice.router,
    gc.router,
    ha.router,
    peers.router,
    dr.router,
    tokens.router,
    second_factor.router,
    sources.router,
    logins.router,
    users.router,
    members.router,
    robots.router,
    system.router,
    auditlog.router,
    ldap.router,
    repositories.router,
    # Before the artifacts, which have a route for every addition.
    scan.router,
    artifacts.router,
    labels.router,
    quotas.router,
    search.router,
    replication.router,
    oidc.router,
    immutability.router,
    retention.router,
    webhooks.router,
    purge.router,
    preheat.router,
    trust.router,
    live.router,
]

# Signing in and out, at `/c`.
BROWSER_ROUTERS: list[APIRouter] = [login.router, oidc.browser]

# The first words of the API's paths: projects, users, ...
WORDS = frozenset(
    route.path.split("/")[1] for router in ROUTERS for route in router.routes if isinstance(route, Route)
)

# What any operation may answer.
_ERRORS = tuple(map(HTTPStatus, (400, 401, 403, 404, 422, 500)))
_SLASHES = re.compile("/{2,}")


def clean_path(scope: Scope) -> Scope:
    """The scope with one slash where the path has several, and none at its end, as Harbor routes requests.

    Paths of neither the API nor `/c` stay as they are: names of the registry API are the registry's matter.
    """
    if scope["path"].startswith("/v2/"):
        return scope
    path = _SLASHES.sub("/", scope["path"])
    if not path.startswith(("/api/", "/c/")) or len(path) < len("/c/x"):
        return scope
    path = path.rstrip("/")
    if path == scope["path"]:
        return scope
    raw = _SLASHES.sub("/", (scope.get("raw_path") or b"").decode("latin-1")).rstrip("/")
    return {**scope, "path": path, "raw_path": raw.encode("latin-1")}


_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def build_api(offered: Offered, gate: Gate, browsers: BrowserSessions) -> ASGIApp:
    """The application; its routes get what they need from `offered`, and `gate` decides who may."""
    app = make_app()
    offer(app, (*ROUTERS, *BROWSER_ROUTERS), offered)
    app.state.gate = gate
    return _Guard(app, browsers)


def make_app() -> FastAPI:
    """The FastAPI application, without what its routes need: enough to make the OpenAPI document."""
    app = FastAPI(
        title="Seawall",
        version="2.0",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    for router in BROWSER_ROUTERS:
        app.include_router(router)
    errors.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _operation_id(route: Any) -> str:
    words = re.sub(r"_(.)", lambda match: match[1].upper(), route.name)
    return words[0].lower() + words[1:]


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        # Requests have no slash at their end (`clean_path`); Harbor's description has it for this one.
        schema["paths"] = {
            path + "/" * path.endswith("_id}/metadatas"): item for path, item in schema["paths"].items()
        }
        _add_errors(schema)
        schema["info"]["description"] = f"Harbor's management API v2.0 as Seawall {__version__} has it."
        schema["components"].setdefault("securitySchemes", {}).update(
            basic={"type": "http", "scheme": "basic"},
            session={"type": "apiKey", "in": "cookie", "name": "sid"},
        )
        schema["security"] = [{}, {"basic": []}, {"session": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def _add_errors(schema: dict[str, Any]) -> None:
    """Say of each operation how it tells errors.

    Not by the routes' `responses`: FastAPI would make a validator for each status of each route, which is a
    third of the time that a server takes to start.
    """
    components = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    envelope = Errors.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(envelope.pop("$defs"), Errors=envelope)
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}}
    for item in schema["paths"].values():
        for operation in item.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                del answers["422"]
            for status in _ERRORS:
                answers.setdefault(
                    str(int(status)), {"description": status.phrase, "content": copy.deepcopy(content)}
                )


class _Guard:
    """Bounds request bodies; adds the security headers and, for browsers, the CSRF token."""

    def __init__(self, app: ASGIApp, browsers: BrowserSessions) -> None:
        self._app = app
        self._browsers = browsers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT:
                raise HTTPException(413, f"the request body has more than {BODY_LIMIT} bytes")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                extra = [header for header in _HEADERS if header[0] not in present]
                if b"cache-control" not in present:
                    extra.append((b"cache-control", b"no-store"))
                if b"set-cookie" not in present:
                    extra += self._browsers.csrf_headers(HTTPConnection(scope))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        raw = scope.get("raw_path") or b""
        if b"%00" in raw or b"%00" in scope.get("query_string", b"") or "\0" in scope["path"]:
            response: JSONResponse = envelope(400, "NUL characters are not allowed")
            await response(scope, receive, with_headers)
            return
        inner = _without_empty(scope)
        try:
            await self._app(inner, bounded, with_headers)
        finally:
            # For what counts requests, further out.
            if (route := inner.get("route")) is not None:
                scope["seawall.operation"] = _operation_id(route)


def _without_empty(scope: Scope) -> Scope:
    """Without the parameters of query and headers that are empty: to Harbor they are not given."""
    query = b"&".join(part for part in scope["query_string"].split(b"&") if part.partition(b"=")[2])
    headers = [item for item in scope["headers"] if item[1].strip() or not item[0].startswith(b"x-")]
    return {**scope, "query_string": query, "headers": headers}
