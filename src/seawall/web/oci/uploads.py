"""Uploads at the registry API ("Pushing blobs" of the specification)."""

from __future__ import annotations

import re

from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest
from seawall.kernel.ranges import parse_content_range
from seawall.registry.model import Chunk, UploadPositionError
from seawall.registry.protocol import Registry
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.http import Request, Response

_SESSION = re.compile(r"[0-9a-f-]{36}")
_ALGORITHMS = ("sha256", "sha512")


class UploadHandlers:
    """Answers requests for `/v2/<name>/blobs/uploads/` and for one session below it."""

    def __init__(self, registry: Registry, access: RegistryAccess) -> None:
        self._registry = registry
        self._access = access

    async def start(self, request: Request, name: str) -> Response:
        """POST: mount a blob, take one that comes in this request, or open a session."""
        mount = request.query.get("mount")
        if mount is not None and await self._mount(request, name, mount):
            return self._created(request, name, mount)
        digest = request.query.get("digest")
        if digest is not None:
            return self._created(request, name, await self._registry.put_blob(name, digest, request.body()))
        algorithm = request.query.get("digest-algorithm")
        if algorithm is not None and algorithm not in _ALGORITHMS:
            raise RegistryError("DIGEST_INVALID", "unsupported digest algorithm; use sha256 or sha512")
        return self._session(request, name, await self._registry.start_upload(name), 0)

    async def _mount(self, request: Request, name: str, digest: str) -> bool:
        check_digest(digest)
        source = request.mount_from
        # The spec's "anonymous mount", without a source, is optional; the client uploads instead.
        if source is None or not await self._access.may_pull(request, source):
            return False
        return await self._registry.mount_blob(name, digest, source)

    async def session(self, request: Request, name: str, upload_id: str) -> Response:
        """GET, PATCH, PUT and DELETE of a session."""
        if not _SESSION.fullmatch(upload_id):
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        try:
            return await self._session_verb(request, name, upload_id)
        except UploadPositionError as error:
            # The client learns where the session is, and goes on from there.
            error.headers.update(self._position(request, name, upload_id, error.offset))
            raise

    async def _session_verb(self, request: Request, name: str, upload_id: str) -> Response:
        if request.method == "DELETE":
            await self._registry.cancel_upload(name, upload_id)
            return Response(204)
        if request.method == "GET":
            offset = await self._registry.upload_offset(name, upload_id)
            return self._session(request, name, upload_id, offset, status=204)
        if request.method == "PATCH":
            offset = await self._registry.append_upload(name, upload_id, _chunk(request))
            return self._session(request, name, upload_id, offset)
        digest = request.query.get("digest")
        if digest is None:
            # An unknown session is the greater mistake of the two.
            await self._registry.upload_offset(name, upload_id)
            raise RegistryError("DIGEST_INVALID", "the closing request needs a digest parameter")
        digest = await self._registry.close_upload(name, upload_id, digest, _chunk(request))
        return self._created(request, name, digest)

    def _session(
        self, request: Request, name: str, upload_id: str, offset: int, status: int = 202
    ) -> Response:
        return Response(status, self._position(request, name, upload_id, offset))

    def _position(self, request: Request, name: str, upload_id: str, offset: int) -> dict[str, str]:
        return {
            "Location": f"{self._access.base_url(request)}/v2/{name}/blobs/uploads/{upload_id}",
            # The spec's Range is inclusive and so cannot say "nothing yet"; 0-0 is what clients expect.
            "Range": f"0-{max(offset - 1, 0)}",
            "Docker-Upload-UUID": upload_id,
        }

    def _created(self, request: Request, name: str, digest: str) -> Response:
        location = f"{self._access.base_url(request)}/v2/{name}/blobs/{digest}"
        return Response(201, {"Location": location, "Docker-Content-Digest": digest})


def _chunk(request: Request) -> Chunk:
    position = request.headers.get("content-range")
    return Chunk(request.body(), None if position is None else parse_content_range(position), request.length)
