"""Requests to one registry: connections, logging in, and trying again."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from seawall import __version__
from seawall.features.replication.login import Credentials, Login, at
from seawall.features.replication.remote import RemoteError, refused, retry_after, unreached
from seawall.infra.addresses import Network
from seawall.infra.outgoing import LIMIT, AiohttpTransport, Reach, origin_of, trusted
from seawall.kernel.errors import InvalidError

# What requests raise when they do not come through.
FAILURES = (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError)
# An answer that is kept in memory has at most so many bytes, and comes within so many seconds.
ANSWER_BYTES = 16 * 1024 * 1024
ANSWER_SECONDS = 180.0
# The longest that a Retry-After is waited for (seconds).
_MOST_RETRY_AFTER = 30.0
_RETRY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long it may take to connect and between two reads."""

    attempts: int = 4
    connect_seconds: float = 10
    read_seconds: float = 60


def trusting(ca_certificate: str) -> ssl.SSLContext:
    """A context that trusts this authority (PEM) alone. Raises InvalidError for another text."""
    try:
        return ssl.create_default_context(cadata=ca_certificate)
    except (ssl.SSLError, ValueError):
        raise InvalidError("ca_certificate has no certificate in PEM") from None


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
        token_origin: str | None = None,
        allow: tuple[Network, ...] = (),
        stay: bool = False,
    ) -> None:
        """`token_origin`: see `Login`; `allow`: networks that the registry may send us on to.

        `stay`: ask nobody but `url`, also where the registry names tokens and uploads by another address.
        Harbor and Seawall name all by their external address, where a balancer may choose another registry.
        """
        self._attempts = patience.attempts
        self.url = url.rstrip("/")
        verify: bool | ssl.SSLContext = not insecure
        if not insecure:
            # The same certificates as httpx trusts, or the given one alone.
            verify = trusting(ca_certificate) if ca_certificate else trusted()
        self._reach = Reach(allow=allow)
        self._reach.add(url)
        if token_origin:
            self._reach.add(token_origin)
        self.http = httpx.AsyncClient(
            transport=AiohttpTransport(verify, reach=self._reach),
            timeout=httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds),
            follow_redirects=False,
            headers={"User-Agent": f"seawall/{__version__}", "Accept-Encoding": "identity"},
        )
        self._stay = stay
        self.login = Login(self.url, credentials, self.http, token_origin, self._reach.add, stay=stay)

    def place(self, target: str, source: str) -> str:
        """The URL of a Location header that came from the URL `source`. Raises RemoteError."""
        try:
            found = urljoin(source, target)
            origin_of(found)
        except ValueError:
            raise RemoteError(f"{self.url} sends on to {target[:200]!r}, which is not a URL") from None
        return at(self.url, found) if self._stay else found

    async def close(self) -> None:
        """Close connections."""
        await self.http.aclose()

    def reach(self, url: str) -> None:
        """Let requests go to the host of an address that our administrator gave, wherever that is."""
        self._reach.add(url)

    def move(self, url: str) -> None:
        """Go on at another address of the same registry."""
        self._reach.add(url)
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
                sent = {**(headers or {}), **await self.headers(url, scope)}
                options: dict[str, Any] = {"content": content} if json is None else {"json": json}
                response = await self._ask(method, url, sent, options, follow=follow)
                if response.status_code == 401 and self.login.learn(response, scope):
                    sent = {**(headers or {}), **await self.headers(url, scope)}
                    response = await self._ask(method, url, sent, options, follow=follow)
            except FAILURES as error:
                if last or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
                    raise unreached(self.url, error) from None
            else:
                if response.status_code in accept:
                    return response
                if last or response.status_code not in _RETRY:
                    raise refused(method, url, response)
                wait = max(wait, min(retry_after(response), _MOST_RETRY_AFTER))
            await asyncio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")

    async def _ask(
        self, method: str, url: str, headers: dict[str, str], options: dict[str, Any], *, follow: bool
    ) -> httpx.Response:
        """One request whose answer is kept in memory: bounded in bytes and time."""
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self.http.request(
                method,
                url,
                headers=headers,
                follow_redirects=follow,
                extensions={LIMIT: ANSWER_BYTES},
                **options,
            )

    async def headers(self, url: str, scope: str) -> dict[str, str]:
        """The headers that log a request in; none where another side has named the address (a Location)."""
        return await self.login.headers(scope) if self.login.trusts(url) else {}

    async def check(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        url = f"{self.url}/v2/"
        try:
            response = await self._ask("GET", url, {}, {}, follow=False)
        except FAILURES as error:
            raise unreached(self.url, error) from None
        if response.status_code == 200:
            # Nothing to log in to; credentials that are given must still be right where they are looked at.
            return
        if response.status_code != 401:
            raise refused("GET", url, response)
        self.login.learn(response, "")
        try:
            response = await self._ask("GET", url, await self.login.check_headers(), {}, follow=False)
        except FAILURES as error:
            raise unreached(self.url, error) from None
        if response.status_code != 200:
            raise refused("GET", url, response)
