"""A proxy before an S3 server that answers as object stores do on a bad day."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any, Literal

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.processes import free_port

Fault = Literal["none", "500", "slow", "hangs", "cuts"]
_ERRORS = {"500": (500, "InternalError"), "slow": (503, "SlowDown")}
# Bodies up to this size are let through by "cuts".
_WHOLE = 600


class FaultyStore:
    """Passes requests on, unless `fault` says otherwise: an error, no answer, or a body that ends too soon.

    A request's signature covers its Host header, so the server behind must be named as this proxy is asked.
    """

    def __init__(self, url: str) -> None:
        self.fault: Fault = "none"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.hit: Counter[str] = Counter()
        self._behind = url
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end: asyncio.Event = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def start(self) -> None:
        """Serve until `close`."""
        self._thread.start()
        assert self._ready.wait(30)

    def close(self) -> None:
        """End."""
        self.fault = "none"
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        async with aiohttp.ClientSession(auto_decompress=False) as self._client:
            self._ready.set()
            await self._end.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self.fault
        self.hit[fault] += 1
        if fault in _ERRORS:
            status, code = _ERRORS[fault]
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
            return web.Response(status=status, text=text, content_type="application/xml")
        while fault == "hangs" and self.fault == "hangs":
            await asyncio.sleep(0.05)
        skipped = {"transfer-encoding", "connection", "content-length"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in skipped}
        target = URL(self._behind + request.raw_path, encoded=True)
        options: dict[str, Any] = {"headers": headers, "data": body, "allow_redirects": False}
        async with self._client.request(request.method, target, **options) as found:
            content = await found.read()
            answer = web.StreamResponse(status=found.status, headers=self._kept(found, content))
            await answer.prepare(request)
            if request.method == "HEAD":
                return answer
            if fault == "cuts" and len(content) > _WHOLE:
                await answer.write(content[: len(content) // 2])
                assert request.transport is not None
                request.transport.close()
                return answer
            await answer.write(content)
            await answer.write_eof()
            return answer

    def _kept(self, found: aiohttp.ClientResponse, content: bytes) -> dict[str, str]:
        skipped = {"transfer-encoding", "connection", "content-length", "date"}
        kept = {name: value for name, value in found.headers.items() if name.lower() not in skipped}
        kept["Content-Length"] = found.headers.get("Content-Length", str(len(content)))
        return kept
