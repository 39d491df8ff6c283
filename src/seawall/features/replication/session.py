"""Requests to one registry: connections, logging in, and trying again."""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from seawall import __version__
from seawall.features.replication.login import Credentials, Login
from seawall.features.replication.remote import RemoteError, reason, refused, retry_after
from seawall.features.replication.transport import AiohttpTransport

# What requests raise when they do not come through.
FAILURES = (httpx.HTTPError, ssl.SSLError)
# The longest that a Retry-After is waited for (seconds).
_MOST_RETRY_AFTER = 30.0
_RETRY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long it may take to connect and between two reads."""

    attempts: int = 4
    connect_seconds: float = 10
    read_seconds: float = 60


class Session:
    """The connections to one registry. Close it."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        insecure: bool,
        ca_certificate: str | None,
        patience: Patience,
    ) -> None:
        self._attempts = patience.attempts
        self.url = url.rstrip("/")
        verify: bool | ssl.SSLContext = not insecure
        if not insecure:
            # The same certificates as httpx trusts, or the given one alone.
            verify = ssl.create_default_context(cadata=ca_certificate) if ca_certificate else _trusted()
        self.http = httpx.AsyncClient(
            transport=AiohttpTransport(verify),
            timeout=httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds),
            follow_redirects=False,
            headers={"User-Agent": f"seawall/{__version__}"},
        )
        self.login = Login(self.url, credentials, self.http)

    async def close(self) -> None:
        """Close connections."""
        await self.http.aclose()

    def move(self, url: str) -> None:
        """Go on at another address of the same registry."""
        self.url = self.login.url = url.rstrip("/")

    async def request(
        self,
        method: str,
        path: str,
        scope: str = "",
        *,
        accept: frozenset[int] = frozenset({200}),
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        follow: bool = False,
    ) -> httpx.Response:
        """One small request; tried again when that can do no harm. Raises RemoteError."""
        url = path if path.startswith(("http://", "https://")) else self.url + path
        wait = 0.3
        for attempt in range(self._attempts):
            last = attempt == self._attempts - 1
            try:
                sent = {**(headers or {}), **await self.login.headers(scope)}
                options: dict[str, Any] = {"content": content} if json is None else {"json": json}
                response = await self.http.request(
                    method, url, headers=sent, follow_redirects=follow, **options
                )
                if response.status_code == 401 and self.login.learn(response, scope):
                    sent = {**(headers or {}), **await self.login.headers(scope)}
                    response = await self.http.request(
                        method, url, headers=sent, follow_redirects=follow, **options
                    )
            except FAILURES as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise RemoteError(f"{self.url}: {reason(error)}") from None
            else:
                if response.status_code in accept:
                    return response
                if last or response.status_code not in _RETRY:
                    raise refused(method, url, response)
                wait = max(wait, min(retry_after(response), _MOST_RETRY_AFTER))
            await asyncio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")

    async def check(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        url = f"{self.url}/v2/"
        try:
            response = await self.http.get(url)
        except FAILURES as error:
            raise RemoteError(f"{self.url}: {reason(error)}") from None
        if response.status_code == 200:
            # Nothing to log in to; credentials that are given must still be right where they are looked at.
            return
        if response.status_code != 401:
            raise refused("GET", url, response)
        self.login.learn(response, "")
        try:
            response = await self.http.get(url, headers=await self.login.check_headers())
        except FAILURES as error:
            raise RemoteError(f"{self.url}: {reason(error)}") from None
        if response.status_code != 200:
            raise refused("GET", url, response)


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()
