"""What a peer may ask of this instance."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from seawall.availability.peers import asked, wire
from seawall.availability.peers.service import PeerService
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry.local import LocalRegistry
from seawall.web.oci.app import UploadsForPeers

_BODY_LIMIT = 64 * 1024 * 1024
_UPLOAD = re.compile(r"/_seawall/peers/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f-]{36})")


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
        if scope["path"] == wire.PATH and scope["method"] == "POST":
            response = await self._question(request)
            await response(scope, receive, send)
            return
        # As it was sent: what the proof is about.
        target = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope.get("query_string"):
            target += "?" + scope["query_string"].decode("latin-1")
        if not wire.proven(self._keys, scope["method"], target, request.headers.get(wire.PROOF_HEADER, "")):
            await JSONResponse({"error": "not found"}, 404)(scope, receive, send)
            return
        match = _UPLOAD.fullmatch(unquote(scope["path"]))
        if match is not None:
            name = request.headers.get("x-seawall-actor", "")
            actor.set(Actor(unquote(name), request.headers.get("x-seawall-address", "")))
            await self._uploads.serve(scope, receive, send, match["name"], match["upload"])
            return
        response = JSONResponse({"error": "not found"}, 404)
        if scope["path"] == f"{wire.PATH}/blob" and scope["method"] == "GET":
            response = await self._blob(parse_qs(scope["query_string"].decode()))
        await response(scope, receive, send)

    async def _question(self, request: Request) -> Response:
        theirs = request.headers.get(wire.KEY_HEADER)
        if theirs is None:
            # The same to everybody else: nobody learns that this is here.
            return JSONResponse({"error": "not found"}, 404)
        key = self._keys.masters.peer_keys("message").get(theirs)
        if key is None:
            return JSONResponse(
                {"error": "has another master key: all peers need the same (master_key_file)"}, 403
            )
        parts: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > _BODY_LIMIT:
                return JSONResponse({"error": "too large"}, 413)
            parts.append(chunk)
        body = b"".join(parts)
        try:
            question = wire.unseal(key, body, b"question")
        except (wire.WireError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 403)
        try:
            answer = await self._answer(question)
        except SeawallError as error:
            answer = {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            answer = {"error": f"question not understood: {type(error).__name__}"}
        sealed = wire.seal(key, answer, b"answer" + body[:12])
        return Response(sealed, media_type="application/octet-stream")

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

    async def _blob(self, query: dict[str, list[str]]) -> Response:
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
        headers = {"Content-Length": str(blob.size - offset)}
        whole = _continued(first, stream)
        return StreamingResponse(whole, headers=headers, media_type="application/octet-stream")


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


def changes_something(method: str, path: str) -> bool:
    """Whether a request may change what peers have too: then they are told before its answer."""
    if path.startswith("/c/") or "/_trust/" in path:
        # Signing in and out; the first who asks for a collection's key has it made.
        return True
    if method in ("GET", "HEAD", "OPTIONS"):
        return False
    # Blobs and their uploads are no entities: they are asked for when something names them.
    return path.startswith(("/v2/", "/api/")) and not (path.startswith("/v2/") and "/blobs/" in path)
