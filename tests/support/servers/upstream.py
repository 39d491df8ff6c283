"""Another registry, on the event loop of a test: to pull from and push to, failing as the test wants."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import Lab


@dataclass
class Upstream:
    """Its content, by hand; `status` answers everything, `hangs` answers nothing.

    `/v2/` is answered whatever it refuses, and not when it fails. With `only`, this is so of one repository.
    """

    url: str = ""
    manifests: dict[str, bytes] = field(default_factory=dict)
    referrers: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    # Each page of a list says that there is another one: itself.
    endless: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    only: str = ""
    # Answers to pushes of these references, as (status, error).
    refuses: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    # What a manifest's answer has instead: this Content-Type, or this page for people.
    kind: str = ""
    page: str = ""
    # Blobs come without Content-Length.
    chunked: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    def put(self, tag: str, payload: bytes) -> str:
        """Give a tag a manifest, which is there by its digest too; returns the digest."""
        self.manifests[tag] = self.manifests[digest_of(payload)] = payload
        return digest_of(payload)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        if request.path == "/v2/":
            while self.hangs and not self.only:
                await asyncio.sleep(0.02)
            well = self.only or self.status < 400 or self.status in (400, 401, 403, 405)
            return web.json_response({}, status=200 if well else self.status)
        _, kind, what = request.path.rsplit("/", 2)
        self.asked[kind] += 1
        hit = not self.only or request.path.startswith(f"/v2/{self.only}/")
        while hit and self.hangs:
            await asyncio.sleep(0.02)
        if hit and self.status:
            return web.json_response({"errors": []}, status=self.status, headers=self.headers)
        if request.method in ("POST", "PUT"):
            return await self._take(request, kind, what)
        headers = {"Link": f'<{request.path_qs}>; rel="next"'} if self.endless else {}
        if kind == "tags":
            return web.json_response({"name": "x", "tags": self.tags}, headers=headers)
        if kind == "referrers":
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.referrers}
            return web.json_response(index, headers=headers, content_type=OCI_INDEX)
        if kind == "blobs" and what in self.blobs:
            answer = web.Response(body=self.blobs[what])
            if self.chunked and request.method == "GET":
                answer.enable_chunked_encoding()
            return answer
        if kind == "manifests" and self.page:
            return web.Response(text=self.page, content_type="text/html")
        payload = self.manifests.get(what)
        if kind != "manifests" or payload is None:
            return web.json_response({"errors": []}, status=404)
        headers["Docker-Content-Digest"] = digest_of(payload)
        kind = OCI_INDEX if b'"manifests"' in payload else OCI_MANIFEST
        return web.Response(body=payload, headers=headers, content_type=self.kind or kind)

    async def _take(self, request: web.Request, kind: str, what: str) -> web.StreamResponse:
        content = await request.read()
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": f"{request.path}session"})
        if kind == "uploads":
            self.blobs[request.query["digest"]] = content
        elif what in self.refuses:
            status, error = self.refuses[what]
            return web.json_response({"errors": [error]}, status=status)
        else:
            self.manifests[what] = self.manifests[digest_of(content)] = content
        return web.Response(status=201)


@asynccontextmanager
async def open_upstream() -> AsyncIterator[Upstream]:
    """One that runs on this event loop."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield upstream
    finally:
        upstream.hangs = False
        await runner.cleanup()


UpstreamBody = Callable[[Lab, Upstream], Coroutine[Any, Any, None]]
RunProxy = Callable[..., None]
