"""What a peer may ask of this instance."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from seawall.availability.peers import asked, wire
from seawall.availability.peers.nonces import is_new
from seawall.availability.peers.service import PeerService
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import RegistryError, SeawallError, UnavailableError
from seawall.registry.local import LocalRegistry
from seawall.web.internal.sites import is_private
from seawall.web.oci.app import UploadsForPeers

_BODY_LIMIT = 64 * 1024 * 1024
_UPLOAD = re.compile(r"/_seawall/peers/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f-]{36})")
_NOT_FOUND = JSONResponse({"error": "not found"}, 404)


class PeerEndpoint:
    """ASGI application below `/_seawall/peers`."""

    def __init__(
        self, service: PeerService, content: LocalRegistry, keys: KeyRing, uploads: UploadsForPeers
    ) -> None:
        self._service = service
        self._content = content
        self._keys = keys
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            response = await self._serve(request)
        except wire.WireError as error:
            response = JSONResponse({"error": str(error)}, 403)
        except UnavailableError as error:
            response = JSONResponse({"error": str(error)}, 503)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        """Raises WireError for what no peer has asked. Nothing of a body is read before that is known."""
        scope = request.scope
        # As it was sent: what the signature is about.
        target = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope.get("query_string"):
            target += "?" + scope["query_string"].decode("latin-1")
        host = request.headers.get("host", "")
        signed = wire.signed(self._keys, request.method, host, target, request.headers)
        if signed is None:
            # The same to everybody else: nobody learns that this is here.
            return _NOT_FOUND
        if not (self._service.settings.allow_http or is_private(request)):
            raise wire.WireError("peers talk over https only (peers.allow_http)")
        if not await is_new(self._service.db, signed.nonce):
            raise wire.WireError("the request has been made before")
        match = _UPLOAD.fullmatch(unquote(scope["path"]))
        if match is not None:
            return await self._upload(request, signed, match["name"], match["upload"])
        if (scope["path"], request.method) == (f"{wire.PATH}/blob", "GET"):
            return await self._blob(signed, parse_qs(scope["query_string"].decode()))
        if (scope["path"], request.method) == (wire.PATH, "POST"):
            return await self._question(request, signed)
        return _NOT_FOUND

    async def _question(self, request: Request, signed: wire.Signed) -> Response:
        parts: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > _BODY_LIMIT:
                return JSONResponse({"error": "too large"}, 413)
            parts.append(chunk)
        body = b"".join(parts)
        if wire.digest(body) != signed.claims.get(wire.BODY):
            raise wire.WireError("the body is not what was signed")
        question = wire.unseal(self._keys, signed, "question", body)
        try:
            answer = await self._answer(question)
        except SeawallError as error:
            answer = {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            answer = {"error": f"question not understood: {type(error).__name__}"}
        return self._sealed(signed, answer)

    def _sealed(self, signed: wire.Signed, answer: dict[str, Any]) -> Response:
        sealed = wire.seal(self._keys, signed, "answer", answer)
        return Response(sealed, media_type="application/octet-stream")

    async def _upload(self, request: Request, signed: wire.Signed, name: str, upload_id: str) -> Response:
        """A client's request about a session of this instance, which came to the peer that asks."""
        claims = signed.claims
        actor.set(Actor(unquote(claims.get(wire.ACTOR, "")), claims.get(wire.ADDRESS, "")))
        headers = [(b"host", request.headers.get("host", "").encode("latin-1"))]
        for claim, header in ((wire.LENGTH, b"content-length"), (wire.RANGE, b"content-range")):
            if claim in claims:
                headers.append((header, claims[claim].encode("latin-1")))
        parts = wire.unframed(self._keys, signed, "question", request.stream())
        status, told, content = 500, dict[str, str](), bytearray()

        async def receive() -> Message:
            try:
                part = await anext(parts, None)
            except (wire.WireError, ClientDisconnect):
                # What the peer said has not all come: to the session that is a client that has gone.
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part or b"", "more_body": part is not None}

        async def send(message: Message) -> None:
            nonlocal status, told
            if message["type"] == "http.response.start":
                status = message["status"]
                told = {key.decode("latin-1"): value.decode("latin-1") for key, value in message["headers"]}
            else:
                content.extend(message.get("body", b""))

        async with contextlib.aclosing(parts):
            await self._uploads.serve({**request.scope, "headers": headers}, receive, send, name, upload_id)
        body = base64.b64encode(content).decode()
        return self._sealed(signed, {"status": status, "headers": told, "body": body})

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        service = self._service
        match question["op"]:
            case "entries":
                await service.observer.observe()
                after = int(question["after"])
                return await service.db.read(lambda c: service.store.entries.told(c, after))
            case "hello":
                return {"name": service.settings.name}
            case "nudge":
                await service.puller.pull_from(str(question["name"]))
                return {}
            case "manifest":
                return await self._manifest(str(question["repository"]), str(question["reference"]))
            case "blob":
                with contextlib.suppress(RegistryError):
                    blob = await self._content.blobs.get(question["repository"], question["digest"])
                    return {"size": blob.size}
                return {}
            case "drop blob":
                return await self._drop_blob(str(question["repository"]), str(question["digest"]))
            case "upload":
                with contextlib.suppress(RegistryError):
                    await self._content.uploads.get(question["repository"], question["id"])
                    return {"here": True}
                return {"here": False}
            case "referrers":
                found = await service.local.referrers(question["repository"], question["digest"])
                return {"digests": found}
            case "summary":
                await service.observer.observe()
                return await service.statuses.summary()
            case "digests":
                return {"digests": await service.statuses.digests(str(question["kind"]))}
            case "pulls":
                since = float(question["after"])
                return {"pulls": await service.db.read(lambda c: asked.pulls(c, since))}
        raise wire.WireError("this version does not know that question; upgrade the instance")

    async def _drop_blob(self, repository: str, digest: str) -> dict[str, Any]:
        try:
            await self._content.blobs.delete(repository, digest)
        except RegistryError as error:
            if error.status == 404:
                return {"dropped": False}
            if error.code == "DENIED":
                return {"dropped": False, "used": str(error)}
            raise
        return {"dropped": True}

    async def _manifest(self, repository: str, reference: str) -> dict[str, Any]:
        try:
            found = await self._content.manifest(repository, reference)
        except RegistryError as error:
            if error.status == 404:
                return {}
            raise
        pushed_at = await self._service.db.point(lambda c: asked.pushed_at(c, repository, found.digest))
        return {
            "digest": found.digest,
            "media_type": found.media_type,
            "payload": base64.b64encode(found.payload).decode(),
            "pushed_at": pushed_at,
        }

    async def _blob(self, signed: wire.Signed, query: dict[str, list[str]]) -> Response:
        content = self._content
        try:
            offset = int(query["offset"][0])
            blob = await content.blobs.get(query["repository"][0], query["digest"][0])
        except (KeyError, ValueError):
            return JSONResponse({"error": "bad request"}, 400)
        except RegistryError as error:
            return JSONResponse({"error": str(error)}, error.status)
        if not 0 <= offset <= blob.size:
            return JSONResponse({"error": "bad offset"}, 416)
        stream = content.storage.stream(blob.key, offset, blob.size)
        try:
            first = await anext(stream, b"")
        except OSError as error:
            return JSONResponse({"error": f"the bytes cannot be read: {type(error).__name__}"}, 404)
        whole = wire.frames(self._keys, signed, "answer", _continued(first, stream))
        return StreamingResponse(whole, media_type="application/octet-stream")


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


def changes_something(method: str, path: str) -> bool:
    """Whether a request may change what peers have too: then they are notified before its answer."""
    if path.startswith(("/c/", "/oauth/")) or "/_trust/" in path:
        # Signing in and out, of programs too; the first who asks for a collection's key has it made.
        return True
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    # Blobs and their uploads are not entities: they are asked for when something names them.
    return path.startswith(("/v2/", "/api/")) and not (path.startswith("/v2/") and "/blobs/" in path)
