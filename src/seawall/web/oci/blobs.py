"""Blobs at the registry API ("Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

from seawall.kernel.ranges import parse_range
from seawall.registry.protocol import BlobVerbs
from seawall.web.oci.http import Request, Response


class BlobHandlers:
    """Answers requests for `/v2/<name>/blobs/<digest>`."""

    def __init__(self, registry: BlobVerbs) -> None:
        self._registry = registry

    async def head(self, request: Request, name: str, digest: str) -> Response:
        """HEAD."""
        del request
        return Response(200, _headers(digest, await self._registry.blob_size(name, digest)))

    async def get(self, request: Request, name: str, digest: str) -> Response:
        """GET, of the whole or of a range.

        A file is handed to the server where it can send files itself (ASGI "http.response.pathsend"), so its
        bytes do not pass through Python.
        """
        wanted = request.headers.get("range")
        blob = await self._registry.open_blob(name, digest, whole=wanted is None)
        headers = _headers(blob.digest, blob.size)
        if blob.data is not None:
            return Response(200, headers, blob.data)
        if blob.url is not None:
            return Response(307, {"Location": blob.url, "Docker-Content-Digest": blob.digest})
        span = None
        if wanted and request.headers.get("if-range") in (None, headers["ETag"]):
            span = parse_range(wanted, blob.size)
        if span is not None:
            headers["Content-Length"] = str(span[1] - span[0])
            headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{blob.size}"
            return Response(206, headers, stream=blob.read(*span))
        if blob.path is not None and "http.response.pathsend" in request.scope.get("extensions", {}):
            return Response(200, headers, path=str(blob.path))
        return Response(200, headers, stream=blob.read(0, blob.size))

    async def delete(self, request: Request, name: str, digest: str) -> Response:
        """DELETE."""
        del request
        await self._registry.delete_blob(name, digest)
        return Response(202)


def _headers(digest: str, size: int) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(size),
    }
