"""Portal sessions: the cookie, and the CSRF token that changes need.

A CSRF token is bound to the session, or to a cookie of its own before there is one (so that nobody can
be signed in as somebody else by another site). It is given in `X-Harbor-CSRF-Token` of every answer to a
browser, and must come back in the same header with every POST, PUT, PATCH and DELETE of a session. Callers
with Basic credentials or bearer tokens need none: no other site can make a browser send those.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

from fastapi import Request, Response
from starlette.requests import HTTPConnection

from seawall.access.principal import Principal
from seawall.process.wiring import Services
from seawall.web.harbor.errors import ApiError

SESSION_COOKIE = "sid"
CSRF_COOKIE = "_csrf"
CSRF_HEADER = "X-Harbor-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def session_principal(request: Request, services: Services) -> Principal | None:
    """The user of the session cookie, None without a live session. Raises ApiError 403 on CSRF."""
    token = request.cookies.get(SESSION_COOKIE)
    if token is None or services.auth is None:
        return None
    session = await services.sessions.get(token)
    if session is None:
        return None
    user = await services.auth.user_by_id(session.user_id)
    if user is None:
        return None
    if request.method not in SAFE_METHODS:
        require_csrf(request, services)
    # An administrator by a group of the provider's is one for the session that the group came with.
    sysadmin = user.sysadmin or bool(session.data.get("admin"))
    return dataclasses.replace(user, sysadmin=sysadmin, via="session")


def require_csrf(request: Request, services: Services) -> None:
    """Raise ApiError 403 unless the request has the CSRF token of its session or cookie."""
    bound = _binding(request)
    given = request.headers.get(CSRF_HEADER)
    if not bound or not given or not services.keys.csrf_valid(bound, given):
        raise ApiError(403, f"CSRF token invalid: {CSRF_HEADER} is missing or not of this session")


def csrf_headers(connection: HTTPConnection, services: Services) -> list[tuple[bytes, bytes]]:
    """What an answer to a browser carries: the token and, before a session, the cookie it is bound to."""
    if services.auth is None or "authorization" in connection.headers:
        return []
    bound, headers = _binding(connection), []
    if not bound:
        value = secrets.token_urlsafe(24)
        bound = f"cookie {value}"
        carrier = Response()
        carrier.set_cookie(
            CSRF_COOKIE,
            value,
            path="/",
            httponly=True,
            samesite="strict",
            secure=is_secure(connection, services),
        )
        headers.append((b"set-cookie", carrier.headers["set-cookie"].encode()))
    return [(CSRF_HEADER.lower().encode(), services.keys.csrf_token(bound).encode()), *headers]


def _binding(connection: HTTPConnection) -> str:
    session = connection.cookies.get(SESSION_COOKIE)
    if session:
        return f"session {session[:200]}"
    cookie = connection.cookies.get(CSRF_COOKIE)
    return f"cookie {cookie[:200]}" if cookie else ""


def is_secure(connection: HTTPConnection, services: Services) -> bool:
    """Whether browsers reach this server over TLS, so that cookies may be bound to it."""
    external = services.settings.external_url
    return connection.url.scheme == "https" or bool(external and external.startswith("https://"))


async def begin(
    request: Request, response: Response, services: Services, user_id: int, data: dict[str, Any]
) -> None:
    """Start a session for the user in `response`; one that the browser had ends (no fixation)."""
    old = request.cookies.get(SESSION_COOKIE)
    if old is not None:
        await services.sessions.delete(old)
    token = await services.sessions.create(
        user_id,
        address=request.client.host if request.client else "",
        agent=request.headers.get("user-agent", "")[:255],
        data=data,
    )
    response.set_cookie(
        SESSION_COOKIE, token, path="/", httponly=True, samesite="lax", secure=is_secure(request, services)
    )
    response.delete_cookie(CSRF_COOKIE, path="/")


async def end(request: Request, response: Response, services: Services) -> None:
    """End the browser's session, if it has one."""
    token = request.cookies.get(SESSION_COOKIE)
    if token is not None:
        await services.sessions.delete(token)
    response.delete_cookie(SESSION_COOKIE, path="/")
