"""What a client asks for when it signs somebody in, and what is wrong with it."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from seawall.access.tables import login_requests
from seawall.access.token_text import REFRESH, hash_of, is_token
from seawall.access.user_tokens import checked_scopes
from seawall.infra.addresses import counted_as
from seawall.kernel.errors import InvalidError, SeawallError

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class OAuthError(SeawallError):
    """An error as RFC 6749 5.2 and RFC 8628 3.5 name it: `code`, and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _pending(code: str, now: float) -> Any:
    return select(login_requests).where(
        login_requests.c.user_code == user_hash(code),
        login_requests.c.state == "pending",
        login_requests.c.expires_at > now,
    )


def near(address: str) -> str:
    """A pattern of LIKE that every address fits which counts as the same as this one."""
    network = counted_as(address)
    if "/" not in network:
        return re.sub(r"[%_\\]", "", address[:64])
    # Zeros may be written or not.
    groups = itertools.takewhile(lambda group: group not in ("", "0"), network.split(":"))
    return "".join(f"{group}:" for group in groups) + "%"


def user_hash(code: str) -> str:
    """What is stored of the code that a person types."""
    return hash_of(f"user code {code}")


def scope_list(scopes: tuple[str, ...]) -> list[str]:
    """The scopes of a token. Raises OAuthError."""
    try:
        return checked_scopes(scopes)
    except InvalidError as error:
        raise OAuthError("invalid_scope", str(error)) from None


def shown_name(client: str) -> str:
    """What a program calls itself, as it may be shown to people."""
    return "".join(c for c in client if c.isprintable())[:100].strip() or "a program"


def check_request(redirect_uri: str, challenge: str, method: str) -> None:
    """Raise InvalidError unless a code may be sent to the address: of loopback by number, and with PKCE."""
    try:
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    # By number: who answers to the name "localhost" is up to the resolver (RFC 8252, 8.3).
    if (
        host not in ("127.0.0.1", "::1")
        or not port
        or parts.scheme != "http"
        or parts.netloc not in (f"127.0.0.1:{port}", f"[::1]:{port}")
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"[!-~]{1,512}", redirect_uri)
        or "\\" in redirect_uri
    ):
        raise InvalidError("redirect_uri must be http://127.0.0.1:PORT/ or http://[::1]:PORT/")
    if method != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise InvalidError("code_challenge is required, by the method S256")


def parse_refresh(given: str) -> tuple[str, int, str]:
    """(login, how often it was renewed, secret) of what renews a login. Raises OAuthError."""
    parts = given.split(".")
    if (
        len(parts) != 3
        or not re.fullmatch("[0-9a-f]{32}", parts[0])
        or not re.fullmatch("[0-9]{1,9}", parts[1])
        or not is_token(parts[2], REFRESH)
    ):
        raise OAuthError("invalid_grant", "the refresh token is malformed")
    return parts[0], int(parts[1]), parts[2]
