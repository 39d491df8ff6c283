"""Logging in to another registry: Basic, or tokens from the server that its challenge names.

Source: Docker's token authentication ("Bearer realm=..."); the form with an OAuth2 refresh token is not used.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from seawall.features.replication.challenges import challenges
from seawall.features.replication.remote import RemoteError, document_of, refused, unreached
from seawall.infra import outgoing
from seawall.infra.outgoing import LIMIT


@dataclass(slots=True)
class Credentials:
    """How to log in: a name and secret, or a function that gets fresh ones (cloud registries)."""

    username: str = ""
    secret: str = ""
    refresh: Callable[[httpx.AsyncClient], Any] | None = None
    expires_at: float = 0

    def basic(self) -> str | None:
        """The Basic header, None without credentials."""
        if not self.username and not self.secret:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


_TOKEN_BYTES = 1024 * 1024
_TOKEN_SECONDS = 60.0
# Token servers of public registries that have another host than the registry.
_KNOWN = {
    "https://registry-1.docker.io": "https://auth.docker.io",
    "https://index.docker.io": "https://auth.docker.io",
    "https://registry.gitlab.com": "https://gitlab.com",
    "https://docker.elastic.co": "https://docker-auth.elastic.co",
}


def origin_of(url: str) -> str:
    """See `seawall.infra.outgoing.origin_of`. Raises RemoteError."""
    try:
        return outgoing.origin_of(url)
    except ValueError as error:
        raise RemoteError(str(error)) from None


def at(base: str, url: str) -> str:
    """`url` at the scheme and host of `base`."""
    there = urlsplit(base)
    return urlsplit(url)._replace(scheme=there.scheme, netloc=there.netloc).geturl()


class Login:
    """How one registry wants to be logged in to, once it has said so, and the tokens it has given.

    Credentials are for the registry's own address and one token server: a challenge is the other side's word,
    and would send them anywhere (CVE-2026-33540).
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        http: httpx.AsyncClient,
        token_origin: str | None = None,
        pinned: Callable[[str], None] = lambda _origin: None,
        *,
        stay: bool = False,
    ) -> None:
        """`pinned` gets the token server that is taken up.

        `token_origin`: the token server's address (see `origin_of`), "" for the registry's own; None: what
        the registry names first. `stay`: see `Session`.
        """
        self.url = url
        self.token_origin = token_origin
        self._pinned = pinned
        self._stay = stay
        self._credentials = credentials
        self._http = http
        # Realm and service of the token server, or Basic.
        self._bearer: tuple[str, str] | None = None
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._token_locks: dict[str, asyncio.Lock] = {}

    async def check_headers(self) -> dict[str, str]:
        """The headers that show whether the credentials are right, after `learn`. Raises RemoteError."""
        await self.refresh()
        if self._bearer is not None:
            return {"Authorization": f"Bearer {(await self._fetch_token(''))[0]}"}
        if self._basic:
            return {"Authorization": self._credentials.basic() or ""}
        return {}

    async def headers(self, scope: str) -> dict[str, str]:
        """The headers of a request in `scope` (Docker's form; empty for none). Raises RemoteError."""
        await self.refresh()
        if self._basic:
            basic = self._credentials.basic()
            return {"Authorization": basic} if basic else {}
        if self._bearer is None or not scope:
            return {}
        lock = self._token_locks.setdefault(scope, asyncio.Lock())
        async with lock:
            token, expires = self._tokens.get(scope, ("", 0.0))
            if time.monotonic() > expires - 10:
                token, expires = await self._fetch_token(scope)
                self._tokens[scope] = (token, expires)
        return {"Authorization": f"Bearer {token}"}

    async def refresh(self) -> None:
        """Get new credentials where the registry gives them for a time only, and that is nearly over."""
        credentials = self._credentials
        if credentials.refresh is not None and time.time() > credentials.expires_at - 300:
            credentials.username, credentials.secret, credentials.expires_at = await credentials.refresh(
                self._http
            )

    def learn(self, response: httpx.Response, scope: str) -> bool:
        """Take up the challenge of a 401; whether asking once more makes sense."""
        sent = response.request.headers.get("authorization", "")
        for scheme, values in challenges(response.headers.get_list("www-authenticate")):
            if scheme == "bearer":
                realm = self._realm(values.get("realm", ""))
                if urlsplit(self.url).scheme == "https" and urlsplit(realm).scheme != "https":
                    raise RemoteError(
                        f"{self.url}: its token server has no TLS; credentials are not sent", content=True
                    )
                self._check(realm)
                self._bearer = (realm, values.get("service", ""))
                # Another request may have got a newer token meanwhile; that one is good.
                if sent == f"Bearer {self._tokens.get(scope, ('', 0.0))[0]}":
                    del self._tokens[scope]
                return bool(scope)
            if scheme == "basic" and self._credentials.basic():
                self._basic = True
                return not sent
        return False

    def _realm(self, named: str) -> str:
        """The token server's address. Raises RemoteError for what is none."""
        try:
            realm = urljoin(self.url, named)
            if self._stay:
                realm = at(self.url, realm)
            origin_of(realm)
        except ValueError:
            raise RemoteError(
                f"{self.url} names the token server {named[:200]!r}, which is not a URL", content=True
            ) from None
        return realm

    def trusts(self, url: str) -> bool:
        """Whether a request to this address may carry what the registry is logged in with."""
        origin, own = origin_of(url), origin_of(self.url)
        return origin in (own, _KNOWN.get(own), self.token_origin)

    def _check(self, realm: str) -> None:
        """Raise RemoteError unless the credentials may be sent to this token server."""
        if self.trusts(realm):
            self._pinned(realm)
            return
        if self.token_origin is None:
            self.token_origin = origin_of(realm)
            self._pinned(realm)
            return
        credentials = self._credentials
        if credentials.basic() is None and credentials.refresh is None:
            return
        raise RemoteError(
            f"{self.url} names the token server {origin_of(realm)}, which its credentials were not given "
            "for; to allow it, save the registry with its secret once more",
            content=True,
        )

    async def _fetch_token(self, scope: str) -> tuple[str, float]:
        assert self._bearer is not None
        realm, service = self._bearer
        parameters: list[Any] = [("service", service), *(("scope", item) for item in scope.split())]
        basic = self._credentials.basic()
        try:
            async with asyncio.timeout(_TOKEN_SECONDS):
                response = await self._http.get(
                    realm,
                    params=parameters,
                    headers={"Authorization": basic} if basic else {},
                    extensions={LIMIT: _TOKEN_BYTES},
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise unreached(realm, error) from None
        if response.status_code != 200:
            raise refused("GET", realm, response)
        try:
            body = document_of(response)
            token = str(body.get("token") or body["access_token"])
            seconds = float(body.get("expires_in") or 60)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise RemoteError(f"{realm}: the token server's answer is not understood", content=True) from None
        return token, time.monotonic() + seconds
