"""A server that cannot be connected to is named with the reason, in words that lead to the cure."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from seawall.infra.outgoing import guarded
from tests.support.processes import free_port


async def reason(url: str) -> str:
    """What the client says of a server that does not answer as it is asked to."""
    async with httpx.AsyncClient(transport=guarded(url)) as client:
        with pytest.raises(httpx.ConnectError) as failed:
            await client.get(url)
    return str(failed.value)


def test_nobody_listens() -> None:
    port = free_port()
    for url in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"):
        assert asyncio.run(reason(url)) == f"nothing listens at 127.0.0.1:{port} (connection refused)"


def test_tls_is_asked_of_a_plain_server() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def ask() -> tuple[int, str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return port, await reason(f"https://127.0.0.1:{port}")

    port, said = asyncio.run(ask())
    assert said == f"127.0.0.1:{port} answers without TLS: is it http:// instead of https://?"
