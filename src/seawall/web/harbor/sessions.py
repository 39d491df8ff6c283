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

from seawall.access.principal import Limits, Principal
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore, hash_of
from seawall.access.sources import Sources
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.web.harbor.errors import ApiError

SESSION_COOKIE = "sid"
# Harbor's name; clients with a session from elsewhere (Terraform's `session_id`) look for it.
CSRF_COOKIE = "_gorilla_csrf"
CSRF_HEADER = "X-Harbor-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class BrowserSessions:
    """The sessions of browsers, in requests and answers."""

    def __init__(
        self,
        store: SessionStore,
        auth: AuthService,
        keys: KeyRing,
        sources: Sources,
        external_url: str | None,
    ) -> None:
        self._sources = sources
        self._store = store
        self._auth = auth
        self._keys = keys
        self._https = bool(external_url and external_url.startswith("https://"))

    async def principal(self, request: Request) -> Principal | None:
        """The user of the session cookie, None without a live session. Raises ApiError 403 on CSRF."""
        token = request.cookies.get(SESSION_COOKIE)
        if token is None or not self._auth.required:
            return None
        session = await self._store.get(token)
        if session is None:
            return None
        # A source that is gone or switched off lets nobody in any more.
        source = session.data.get("source")
        if source and not await self._sources.is_enabled(source):
            return None
        user = await self._auth.user_by_id(session.user_id)
        if user is None:
            return None
        if request.method not in SAFE_METHODS:
            self.require_csrf(request)
        # An administrator by a group of the provider's is one for the session that the group came with.
        sysadmin = user.sysadmin or bool(session.data.get("admin"))
        if session.data.get("enrol"):
            # Of one who has yet to set up the second factor that is required.
            limits = Limits(frozenset({"enrol"}), ())
            return dataclasses.replace(user, sysadmin=False, limits=limits, via="session")
        return dataclasses.replace(user, sysadmin=sysadmin, via="session")

    def hash_of(self, request: Request) -> str:
        """The `id_hash` of the request's session."""
        return hash_of(request.cookies.get(SESSION_COOKIE, ""))

    async def source(self, request: Request) -> str:
        """The source by which the browser's session began, "" for the default one or without a session."""
        token = request.cookies.get(SESSION_COOKIE)
        session = await self._store.get(token) if token is not None else None
        return str(session.data.get("source", "")) if session is not None else ""

    def require_csrf(self, request: Request) -> None:
        """Raise ApiError 403 unless the request has the CSRF token of its session or cookie."""
        bound = _binding(request)
        given = request.headers.get(CSRF_HEADER)
        if not bound or not given or not self._keys.csrf_valid(bound, given):
            raise ApiError(403, f"CSRF token invalid: {CSRF_HEADER} is missing or not of this session")

    def csrf_headers(self, connection: HTTPConnection) -> list[tuple[bytes, bytes]]:
        """What an answer to a browser carries: the token, and a cookie unless the browser has one.

        Before a session, the token is bound to that cookie.
        """
        if not self._auth.required or "authorization" in connection.headers:
            return []
        bound, headers = _binding(connection), []
        if CSRF_COOKIE not in connection.cookies:
            value = secrets.token_urlsafe(24)
            bound = bound or f"cookie {value}"
            carrier = Response()
            carrier.set_cookie(
                CSRF_COOKIE,
                value,
                path="/",
                httponly=True,
                samesite="strict",
                secure=self.is_secure(connection),
            )
            headers.append((b"set-cookie", carrier.headers["set-cookie"].encode()))
        return [(CSRF_HEADER.lower().encode(), self._keys.csrf_token(bound).encode()), *headers]

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether browsers reach this server over TLS, so that cookies may be bound to it."""
        return connection.url.scheme == "https" or self._https

    async def begin(
        self,
        request: Request,
        response: Response,
        user_id: int,
        data: dict[str, Any],
        *,
        also: Also = nothing,
    ) -> None:
        """Start a session for the user in `response`; one that the browser had ends (no fixation)."""
        old = request.cookies.get(SESSION_COOKIE)
        if old is not None:
            await self._store.delete(old, also=also)
        token = await self._store.create(
            user_id,
            address=request.client.host if request.client else "",
            agent=request.headers.get("user-agent", "")[:255],
            data=data,
            also=also,
        )
        response.set_cookie(
            SESSION_COOKIE, token, path="/", httponly=True, samesite="lax", secure=self.is_secure(request)
        )
        response.delete_cookie(CSRF_COOKIE, path="/")

    async def end(self, request: Request, response: Response, *, also: Also = nothing) -> None:
        """End the browser's session, if it has one."""
        token = request.cookies.get(SESSION_COOKIE)
        if token is not None:
            await self._store.delete(token, also=also)
        response.delete_cookie(SESSION_COOKIE, path="/")


def _binding(connection: HTTPConnection) -> str:
    session = connection.cookies.get(SESSION_COOKIE)
    if session:
        return f"session {session[:200]}"
    cookie = connection.cookies.get(CSRF_COOKIE)
    return f"cookie {cookie[:200]}" if cookie else ""
