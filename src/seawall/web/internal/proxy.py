"""Requests that come through a load balancer: whose they are, and at which address.

`X-Forwarded-For`, `-Proto` and `-Host` are believed only from `http.trusted_proxies`; from anybody else they
are removed, so nothing further in can believe them by mistake. The client is the last address in
`X-Forwarded-For` that is not a trusted proxy's: everything to the left of it could have been made up.

The same goes for `X-Seawall-Accelerate`, by which nginx says that it sends files itself (`http.accelerate`).
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from seawall.kernel.headers import by_name

_HOST = re.compile(rb"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
# Its value is the kind of proxy. What a trusted one says is at `scope["seawall.accelerate"]`.
ACCELERATE = b"x-seawall-accelerate"
_FORWARDED = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"forwarded",
        ACCELERATE,
    }
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """ASGI middleware that sets client, scheme and Host of requests that trusted proxies forward."""

    def __init__(self, app: ASGIApp, networks: tuple[str, ...]) -> None:
        """`networks`: addresses or CIDRs of the proxies."""
        self._app = app
        self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(item, False) for item in networks)
        self._trusted = lru_cache(4096)(self._is_trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] in ("http", "websocket"):
            scope = self._seen(scope)
        await self._app(scope, receive, send)

    def _seen(self, scope: Scope) -> Scope:
        if _FORWARDED.isdisjoint(by_name(scope)):
            return scope
        given = [(name, value) for name, value in scope["headers"] if name in _FORWARDED]
        headers = [(name, value) for name, value in scope["headers"] if name not in _FORWARDED]
        # Believed or not, the request did not come from where its connection does.
        scope = {**scope, "headers": headers, "seawall.forwarded": True}
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._trusted(peer):
            return scope
        client = peer
        for hop in reversed(_values(given, b"x-forwarded-for")):
            address = _address(hop)
            if address is None:
                break  # not an address: what stands left of it cannot be judged
            client = str(address)
            if not self._trusted(client):
                break
        scope["client"] = (client, scope["client"][1] if scope.get("client") and client == peer else 0)
        kind = _values(given, ACCELERATE)
        if kind:
            scope["seawall.accelerate"] = kind[-1]
        # Several proxies in a row append; the last value is the nearest proxy's, which is trusted.
        proto = _values(given, b"x-forwarded-proto")
        if proto and proto[-1].lower() in ("http", "https"):
            scope["scheme"] = proto[-1].lower()
        host = _values(given, b"x-forwarded-host")
        if host and _HOST.fullmatch(host[-1].encode("latin-1")):
            scope["headers"] = [
                *((name, value) for name, value in headers if name != b"host"),
                (b"host", host[-1].encode("latin-1")),
            ]
        return scope

    def _is_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [
        item.strip()
        for name, value in headers
        if name == wanted
        for item in value.decode("latin-1").split(",")
        if item.strip()
    ]


def _address(text: str) -> Address | None:
    text = text.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]  # some proxies add the port
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


__all__ = ["TrustedProxies"]
