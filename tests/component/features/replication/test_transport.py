"""The HTTP transport of copies, against servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from seawall.infra.outgoing import AiohttpTransport, Reach
from tests.support.processes import free_port

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _with(answer: Answer, check: Callable[[str, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            server,
            httpx.AsyncClient(
                transport=AiohttpTransport(reach=Reach({("127.0.0.1", port)})), timeout=5
            ) as client,
        ):
            await check(f"http://127.0.0.1:{port}", client)

    asyncio.run(asyncio.wait_for(run(), 20))


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def test_a_request_arrives_as_it_was_written() -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _head(reader))
        seen.append(await reader.readexactly(6))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nX-Two: a\r\nX-Two: b\r\n\r\n")
        await writer.drain()

    async def check(url: str, client: httpx.AsyncClient) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"def"

        path = "/v2/a%252Fb/x?digest=sha256%3Aab&sig=a%2Bb%3D&t=a+b"
        answer = await client.put(url + path, content=parts(), headers={"Content-Length": "6"})
        assert answer.status_code == 201
        assert answer.headers.get_list("x-two") == ["a", "b"]
        head, body = seen
        assert head.startswith(f"PUT {path} HTTP/1.1\r\n".encode())
        assert b"transfer-encoding" not in head.lower()
        assert head.lower().count(b"content-length: 6") == 1
        assert body == b"abcdef"

    _with(answer, check)


def test_what_the_body_raises_reaches_the_caller() -> None:
    class OwnError(Exception):
        pass

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    async def check(url: str, client: httpx.AsyncClient) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"abc"
            raise OwnError

        with pytest.raises(OwnError):
            await client.put(url, content=parts(), headers={"Content-Length": "6"})

    _with(answer, check)


def test_errors_are_those_of_httpx() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader)
        if b"/short" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        elif b"/nonsense" in head:
            writer.write(b"what?\r\n\r\n")
        elif b"/silent" in head:
            await asyncio.sleep(2)
        await writer.drain()

    async def check(url: str, client: httpx.AsyncClient) -> None:
        for path in ("/short", "/nonsense", "/gone"):
            with pytest.raises(httpx.TransportError):
                await client.get(url + path)
        with pytest.raises(httpx.TimeoutException):
            await client.get(url + "/silent", timeout=0.2)
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{free_port()}/")

    _with(answer, check)


def test_a_stream_left_early_ends_its_connection() -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        await writer.drain()
        assert await reader.read() == b""
        closed.set()

    async def check(url: str, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", url) as answer:
            async for data in answer.aiter_raw():
                assert data
                break
        await asyncio.wait_for(closed.wait(), 5)

    _with(answer, check)
