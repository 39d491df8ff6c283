"""The HTTP client for what is asked of other servers on behalf of clients: httpx over guarded connections.

An administrator names an endpoint, and its own address may be anywhere. Where its answers send us (redirects,
token servers, locations of uploads) is another side's word: such hosts must have addresses of the world, or
ones that the administrator allowed for the endpoint (`Reach`). Answers are bounded, by the extension
`LIMIT` of a request where it has one.

The connections are aiohttp's. A copy of small artifacts is bound by the processor time of its requests.
httpcore costs 0.6 ms a request with 8 connections and 1.7 ms with 32 (its pool looks at all of them each
time), aiohttp 0.2 ms with either.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import aiohttp.abc
import httpx
from yarl import URL

from seawall.infra import tracing
from seawall.infra.addresses import Network, allowed

_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientPayloadError, httpx.ReadError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.ClientError, httpx.RemoteProtocolError),
    (TimeoutError, httpx.ReadTimeout),
    (OSError, httpx.ReadError),
)


# Of a request: how many bytes of an answer are read at most, more is an error. None: as many as come, for
# what is not kept in memory.
LIMIT = "seawall.limit"
_LIMIT_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class Reach:
    """Where the connections of one client may go: `hosts` (name, port) at any address, others by theirs.

    `allow`: networks in addition to public ones.
    """

    hosts: set[tuple[str, int]] = field(default_factory=set)
    allow: tuple[Network, ...] = ()

    def add(self, url: str) -> None:
        """Let connections go to the host of a URL, wherever that is; nothing for what is not a URL."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            if parts.hostname:
                self.hosts.add((parts.hostname.lower(), port))

    def check(self, host: str, port: int, address: str) -> None:
        """Raise OSError unless connections to `host` may go to this address of its."""
        if (host.lower(), port) in self.hosts:
            return
        if not allowed(ipaddress.ip_address(address.partition("%")[0]), self.allow):
            raise _RefusedError(f"{host} has the address {address}, which may not be reached from here")


class UnwantedError(httpx.ReadError):
    """The other side answers, but what it sends is not taken: too much, or not what was asked for."""


class RefusedAddressError(httpx.ConnectError):
    """The other side sends us to an address that may not be reached from here."""


# What says that the other side's answer is wrong, and not that it is away.
UNWANTED = (
    UnwantedError,
    RefusedAddressError,
    httpx.DecodingError,
    httpx.InvalidURL,
    httpx.RemoteProtocolError,
    httpx.TooManyRedirects,
    httpx.UnsupportedProtocol,
)


class _RefusedError(OSError):
    pass


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL: what credentials are given to. Raises ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        raise ValueError(f"{url[:200]!r} is not a URL") from None
    if port is None or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is not a URL")
    host = parts.hostname.lower()
    literal = f"[{host}]" if ":" in host else host
    usual = port == (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{literal}" + ("" if usual else f":{port}")


def guarded(
    endpoint: str, *, verify: bool | ssl.SSLContext = True, proxies: bool = False
) -> AiohttpTransport:
    """The transport for an endpoint that an administrator named; answers lead to no other host inside."""
    reach = Reach()
    reach.add(endpoint)
    return AiohttpTransport(trusted() if verify is True else verify, reach=reach, proxies=proxies)


@functools.cache
def trusted() -> ssl.SSLContext:
    """The certificates that httpx trusts."""
    return httpx.create_ssl_context()


class _Resolver(aiohttp.abc.AbstractResolver):
    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        found = await self._inner.resolve(host, port, family)
        for item in found:
            self._reach.check(host, port, item["host"])
        return list(found)

    async def close(self) -> None:
        await self._inner.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient`."""

    def __init__(
        self,
        verify: bool | ssl.SSLContext = True,
        *,
        reach: Reach,
        connections: int = 32,
        proxies: bool = True,
    ) -> None:
        """`verify` False takes any certificate. `proxies`: use those of the environment."""
        self._reach = reach
        self._proxies = proxies
        if proxies:
            for url in getproxies().values():
                # A proxy resolves names for us; it is where our administrator put it.
                reach.add(url if "//" in url else f"http://{url}")
        self._verify = verify
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; errors are httpx's, or what the request's own body raised."""
        if self._session is None:
            # Belongs to the event loop that it is made on.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._verify, limit=self._connections, resolver=_Resolver(self._reach)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=self._proxies,
                skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
            )
        self._check_literal(request)
        timeout = request.extensions.get("timeout", {})
        body = _Body(request)
        # Neither path nor query: an address may have a secret in it.
        attributes = {"http.request.method": request.method, "server.address": request.url.host}
        with tracing.span(f"{request.method} {request.url.host}", "client", **attributes) as span:
            tracing.inject(request.headers)
            response = await self._sent(request, body, timeout)
            span.set("http.response.status_code", response.status)
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Stream(response, request),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("ascii", "replace"),
            },
        )

    async def _sent(
        self, request: httpx.Request, body: _Body, timeout: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        assert self._session is not None
        try:
            return await self._session.request(
                request.method,
                # As it is: a signed URL must not be written another way.
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw],
                data=body.data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout.get("pool"),
                    sock_connect=timeout.get("connect"),
                    sock_read=timeout.get("read"),
                ),
            )
        except Exception as error:
            if body.error is not None:
                raise body.error from None
            raise _translated(error, request) from error

    def _check_literal(self, request: httpx.Request) -> None:
        """The resolver never sees a host that is an address."""
        host = request.url.host
        if not (":" in host or host.replace(".", "").isdigit()):
            return
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            self._reach.check(host, port, host)
        except ValueError:
            # `127.1` and `2130706433` are addresses to the system's resolver, and to nobody else.
            raise RefusedAddressError(
                f"{host} is not an address in its usual form", request=request
            ) from None
        except OSError as error:
            raise RefusedAddressError(str(error), request=request) from None

    async def aclose(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()


class _Body:
    """A request's body for aiohttp; `error` is what reading it raised, which aiohttp would hide."""

    def __init__(self, request: httpx.Request) -> None:
        self.error: BaseException | None = None
        self.data: Any
        try:
            self.data = request.content or None
        except httpx.RequestNotRead:
            self.data = self._parts(request.stream)
            # aiohttp frames the body itself.
            request.headers.pop("transfer-encoding", None)

    async def _parts(self, stream: Any) -> AsyncIterator[bytes]:
        try:
            async for data in stream:
                yield data
        except BaseException as error:
            self.error = error
            raise


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limit = self._request.extensions.get(LIMIT, _LIMIT_BYTES)
        if limit is not None and self._response.headers.get("Content-Encoding", "identity") != "identity":
            # It was not asked for, and how large it unpacks nobody knows.
            raise httpx.DecodingError("the answer is compressed", request=self._request)
        total = 0
        try:
            async for data in self._response.content.iter_any():
                total += len(data)
                if limit is not None and total > limit:
                    raise UnwantedError(f"the answer has more than {limit} bytes", request=self._request)
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error, self._request) from error

    async def aclose(self) -> None:
        # Ends the connection when the body was not read to its end.
        self._response.release()


def _translated(error: Exception, request: httpx.Request) -> Exception:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _RefusedError):
        # What `Reach.check` says, without what aiohttp puts around it.
        return RefusedAddressError(str(error.os_error), request=request)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(_unconnected(error), request=request)
    for kind, meant in _ERRORS:
        if isinstance(error, kind):
            return meant(str(error) or type(error).__name__, request=request)
    return error


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    place = f"{error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} is not known here ({error.os_error.strerror})"
    if isinstance(error.os_error, ConnectionRefusedError) or error.os_error.errno == errno.ECONNREFUSED:
        return f"nothing listens at {place} (connection refused)"
    if "WRONG_VERSION_NUMBER" in str(error) or "HTTP_REQUEST" in str(error):
        return f"{place} answers without TLS: is it http:// instead of https://?"
    return str(error)
