"""Requests to addresses that users choose stay outside: every range that is not public is refused."""

from __future__ import annotations

import asyncio
import ipaddress

import httpx
import pytest

from seawall.infra.addresses import allowed, networks
from seawall.infra.outgoing import AiohttpTransport, Reach

# IANA's special-purpose address registries, and what stands for an IPv4 address inside.
INSIDE = [
    "0.0.0.1",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "3ffe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
]
OUTSIDE = [
    "1.1.1.1",
    "8.8.8.8",
    "193.0.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", INSIDE)
def test_inside_is_refused(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside_is_reached(address: str) -> None:
    assert allowed(ipaddress.ip_address(address), ())


def test_an_administrator_may_allow_a_range() -> None:
    assert allowed(ipaddress.ip_address("fec0::1"), networks(["fec0::/10"]))


@pytest.mark.parametrize(
    "host",
    ["127.1", "127.0.1", "2130706433", "017700000001", "0", "0000", "127.0.0.1.", "127.0.0.1"],
)
def test_addresses_in_every_spelling_are_looked_at(host: str) -> None:
    """The system's resolver takes them all, so they must not get there, whatever libraries between refuse."""

    async def ask() -> None:
        async with httpx.AsyncClient(transport=AiohttpTransport(reach=Reach(), proxies=False)) as client:
            request = client.build_request("GET", f"http://{host}:9/")
            with pytest.raises(
                httpx.ConnectError, match=r"may not be reached|not an address in its usual form"
            ):
                client._transport._check_literal(request)  # type: ignore[attr-defined]

    asyncio.run(ask())
