"""Portal sessions: the cookie, and the CSRF token that changes need.

A CSRF token is bound to the session, or to a cookie of its own before there is one (so that nobody can
be signed in as somebody else by another site). It is given in `X-Harbor-CSRF-Token` of every answer to a
browser, and must come back in the same header with every POST, PUT, PATCH and DELETE of a session. Callers
with Basic credentials or bearer tokens need none: no other site can make a browser send those.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from seawall.auth.principal import Principal
from seawall.services import Services

SESSION_COOKIE = "sid"
CSRF_COOKIE = "_csrf"
CSRF_HEADER = "X-Harbor-CSRF-Token"


async def session_principal(request: Request, services: Services) -> Principal | None:
    """The user of the session cookie, None without a live session. Raises ApiError 403 on CSRF."""
    sessions: Any = getattr(services, "sessions", None)
    if sessions is None or SESSION_COOKIE not in request.cookies:
        return None
    return None
