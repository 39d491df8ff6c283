"""Manifests at the registry API ("Pulling manifests", "Pushing Manifests", "Deleting Manifests")."""

from __future__ import annotations

from seawall.kernel.errors import RegistryError
from seawall.registry.protocol import ManifestVerbs
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.http import Request, Response

_TAGS_LIMIT = 64


class ManifestHandlers:
    """Answers requests for `/v2/<name>/manifests/<reference>`."""

    def __init__(self, registry: ManifestVerbs, access: RegistryAccess, *, limit: int) -> None:
        """`limit`: bytes of the largest manifest."""
        self._registry = registry
        self._access = access
        self._limit = limit

    async def get(self, request: Request, name: str, reference: str) -> Response:
        """GET and HEAD."""
        found = await self._registry.manifest(name, reference)
        if request.method == "GET":
            await self._registry.pulling(name, found, reference)
        etag = f'"{found.digest}"'
        headers = {
            "Content-Type": found.media_type,
            "Docker-Content-Digest": found.digest,
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") in (etag, found.digest, "*"):
            return Response(304, {**headers, "Content-Length": "0"})
        headers["Content-Length"] = str(len(found.payload))
        return Response(200, headers, found.payload)

    async def put(self, request: Request, name: str, reference: str) -> Response:
        """PUT: store the manifest, also under the tags of `tag` parameters, or under a digest asked for."""
        if request.length is not None and request.length > self._limit:
            raise RegistryError("MANIFEST_INVALID", "manifest is too large", status=413)
        payload = await request.read(self._limit)
        extra = tuple(request.query.getlist("tag"))
        if len(extra) > _TAGS_LIMIT:
            raise RegistryError("MANIFEST_INVALID", f"more than {_TAGS_LIMIT} tags")
        kind, wanted = request.headers.get("content-type"), request.query.get("digest")
        digest, subject = await self._registry.put_manifest(name, reference, payload, kind, extra, wanted)
        headers = {
            "Location": f"{self._access.base_url(request)}/v2/{name}/manifests/{digest}",
            "Docker-Content-Digest": digest,
        }
        if subject is not None:
            headers["OCI-Subject"] = subject
        if extra:
            headers["OCI-Tag"] = ", ".join(extra)
        return Response(201, headers)

    async def delete(self, request: Request, name: str, reference: str) -> Response:
        """DELETE: a manifest by digest, a tag by name."""
        del request
        await self._registry.delete_manifest(name, reference)
        return Response(202)
