"""The smallest applications that do what a registry asks of its HTTP server, for `bench.servers`.

`/manifest`: a 2 KiB JSON document from memory. `/file/<name>`: a file, sent the best way the interface has.
`/bytes/<name>`: a (small) file read here and answered as bytes. `PUT /upload`: the body is hashed and
written to a file in batches, a batch in a thread while the next one arrives, fsynced, and its digest
returned.

The directory of the files comes in the environment variable BENCH_FILES.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

_FILES = os.environ.get("BENCH_FILES", ".")
_BATCH = 1024 * 1024
_CHUNK = 256 * 1024
MANIFEST = json.dumps({"schemaVersion": 2, "note": "x" * 2000}).encode()
_TYPE = "application/octet-stream"


def _file(path: str) -> tuple[str, int]:
    name = os.path.join(_FILES, os.path.basename(path))
    return name, os.stat(name).st_size


def _contents(name: str) -> bytes:
    with open(name, "rb", buffering=0) as file:
        return file.read()


async def _store(chunks: Callable[[], Awaitable[bytes | None]]) -> bytes:
    digest = hashlib.sha256()

    def write(fd: int, data: bytearray) -> None:
        digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    with tempfile.NamedTemporaryFile(dir=_FILES) as file:
        pending: asyncio.Task[None] | None = None
        batch = bytearray()
        while (chunk := await chunks()) is not None:
            batch += chunk
            if len(batch) >= _BATCH:
                if pending is not None:
                    await pending
                pending = asyncio.ensure_future(asyncio.to_thread(write, file.fileno(), batch))
                batch = bytearray()
        if pending is not None:
            await pending
        await asyncio.to_thread(write, file.fileno(), batch)
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest.hexdigest().encode()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """ASGI 3; `http.response.pathsend` where the server has it, else read and send."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    kind = path.split("/")[1]

    async def start(status: int, length: int) -> None:
        headers = [(b"content-type", _TYPE.encode()), (b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})

    if kind == "upload":
        more = True

        async def chunks() -> bytes | None:
            nonlocal more
            if not more:
                return None
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            more = message.get("more_body", False)
            return bytes(message.get("body", b""))

        body = await _store(chunks)
        await start(201, len(body))
        await send({"type": "http.response.body", "body": body})
        return
    if kind == "manifest":
        await start(200, len(MANIFEST))
        await send({"type": "http.response.body", "body": MANIFEST})
        return
    name, size = _file(path)
    await start(200, size)
    if kind == "bytes":
        await send({"type": "http.response.body", "body": _contents(name)})
    elif "http.response.pathsend" in scope.get("extensions", {}):
        await send({"type": "http.response.pathsend", "path": name})
    else:
        with open(name, "rb", buffering=0) as file:
            while data := await asyncio.to_thread(file.read, _CHUNK):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def rsgi(scope: Any, protocol: Any) -> None:
    """Granian's own interface; files by `response_file`."""
    path = scope.path
    kind = path.split("/")[1]
    if kind == "upload":
        parts = aiter(protocol)

        async def chunks() -> bytes | None:
            try:
                return bytes(await anext(parts))
            except StopAsyncIteration:
                return None

        body = await _store(chunks)
        protocol.response_bytes(201, [("content-type", _TYPE), ("content-length", str(len(body)))], body)
        return
    if kind == "manifest":
        headers = [("content-type", _TYPE), ("content-length", str(len(MANIFEST)))]
        protocol.response_bytes(200, headers, MANIFEST)
        return
    name, size = _file(path)
    headers = [("content-type", _TYPE), ("content-length", str(size))]
    if kind == "bytes":
        protocol.response_bytes(200, headers, _contents(name))
    else:
        protocol.response_file(200, headers, name)
