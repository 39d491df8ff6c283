"""Which addresses may be reached from here for somebody else: the world's, and what is allowed by name.

Somebody who chooses an address, or redirects us to one, must not reach the inside of the network through
us (SSRF).
A host is resolved once, every address it has is looked at, and the connection goes to one of those very
addresses, so that a second answer of the name server cannot send it elsewhere ("DNS rebinding").
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# The only IPv6 addresses that are given out for use between networks (IANA, RFC 4291). What is outside,
# site-local fec0::/10 and local NAT64 64:ff9b:1::/48 among it, is somebody's inside or nobody's.
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Of IANA's special-purpose registries, what Python 3.11 takes for global.
_SPECIAL: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("2001::/23"),
    ipaddress.IPv6Network("3ffe::/16"),
    ipaddress.IPv6Network("3fff::/20"),
)


class RefusedError(Exception):
    """The address is one that must not be reached from here."""


def networks(values: Iterable[str]) -> tuple[Network, ...]:
    """Networks from settings (`10.1.0.0/16`, `127.0.0.1`). Raises ValueError."""
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def allowed(address: Address, allow: Iterable[Network]) -> bool:
    """Whether a connection may go to `address`: global unicast ones, and what `allow` names."""
    if any(address.version == item.version and address in item for item in allow):
        return True
    inner = _inner(address)
    if inner is not None:
        return allowed(inner, allow)
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    if any(address.version == item.version and address in item for item in _SPECIAL):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    )


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def counted_as(client: str) -> str:
    """What a client's address counts as where clients are counted: of IPv6 the /64 that a client has whole.

    Anything else (a socket's path, none) stays as it is, up to 64 characters.
    """
    try:
        parsed = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    inner = parsed.ipv4_mapped
    return str(inner if inner is not None else ipaddress.ip_network((parsed, 64), strict=False))


async def resolve(host: str, port: int, allow: Iterable[Network]) -> Address:
    """An address of `host` to connect to. Raises RefusedError if any of its addresses is not allowed."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RefusedError(f"{host} cannot be resolved") from None
    # A scope id ("%eth0") marks a link-local address.
    addresses = [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
    if not addresses:
        raise RefusedError(f"{host} has no address")
    for address in addresses:
        # One bad address among good ones is enough: which one is used must not be a matter of luck.
        if not allowed(address, allow):
            raise RefusedError(f"{host} has the address {address}, which may not be reached from here")
    return addresses[0]
