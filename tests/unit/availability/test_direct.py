"""Instances speak to one another directly, whatever proxy the environment has for what is outside."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from joserfc.jwk import RSAKey

from seawall.availability.cluster.prober import Prober
from seawall.availability.peers.client import Peer
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings


class Keys:
    """As much of a key ring as a probe needs."""

    def signing(self) -> tuple[str, Any]:
        return "one", RSAKey.generate_key(2048)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
    )
    writer.write(head + b'{"id":1}')
    await writer.drain()
    writer.close()


def test_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 1 is no proxy, so what goes there fails."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    keys = cast("KeyRing", Keys())

    async def run() -> None:
        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Prober(keys, Settings()) as prober:
                assert await prober.ask(url, {}) == {"id": 1}
            peer = Peer(url, keys, 5)
            assert (await peer.http.get(url)).json() == {"id": 1}
            await peer.close()

    asyncio.run(run())
