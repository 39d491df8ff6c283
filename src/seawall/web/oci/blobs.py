"""Blobs at the registry API ("Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

from seawall.kernel.ranges import parse_ranges
from seawall.registry.protocol import BlobVerbs
from seawall.web.oci.accelerate import Accelerator, NoAccelerator
from seawall.web.oci.http import Request, Response
from seawall.web.oci.ranges import multipart


class BlobHandlers:
    """Answers requests for `/v2/<name>/blobs/<digest>`."""

    def __init__(self, registry: BlobVerbs, accelerator: Accelerator | NoAccelerator) -> None:
        self._registry = registry
        self._accelerator = accelerator

    async def head(self, request: Request, name: str, digest: str) -> Response:
        """HEAD."""
        del request
        return Response(200, _headers(digest, await self._registry.blob_size(name, digest)))

    async def get(self, request: Request, name: str, digest: str) -> Response:
        """GET, of the whole, of a range or of several.

        A file is handed to the server where it can send files itself (ASGI "http.response.pathsend"), so its
        bytes do not pass through Python. Several ranges are answered here even where a client could be sent
        to the object store: a store answers one range, and sends the whole when asked for more. A proxy that
        sends files (`http.accelerate`) gets the place of the file instead, for the whole and for one range.
        """
        wanted = request.headers.get("range")
        blob = await self._registry.open_blob(name, digest, whole=wanted is None)
        headers = _headers(blob.digest, blob.size)
        if blob.data is not None:
            return Response(200, headers, blob.data)
        spans = None
        if wanted and request.headers.get("if-range") in (None, headers["ETag"]):
            spans = parse_ranges(wanted, blob.size)
        if spans and len(spans) > 1:
            return multipart(blob, spans, headers)
        if blob.url is not None:
            return Response(307, {"Location": blob.url, "Docker-Content-Digest": blob.digest})
        place = self._accelerator.place(request, blob)
        if place is not None and (spans or wanted is None):
            return Response(200, _for_proxy(headers, place))
        if spans:
            start, end = spans[0]
            headers["Content-Length"] = str(end - start)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
            return Response(206, headers, stream=blob.read(start, end))
        if blob.path is not None and "http.response.pathsend" in request.scope.get("extensions", {}):
            return Response(200, headers, path=str(blob.path))
        return Response(200, headers, stream=blob.read(0, blob.size))

    async def delete(self, request: Request, name: str, digest: str) -> Response:
        """DELETE."""
        del request
        await self._registry.delete_blob(name, digest)
        return Response(202)


def _for_proxy(headers: dict[str, str], place: str) -> dict[str, str]:
    # The proxy says these itself, and would say twice what it keeps of this answer.
    own = ("Accept-Ranges", "Cache-Control", "Content-Length")
    return {name: value for name, value in headers.items() if name not in own} | {"X-Accel-Redirect": place}


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
