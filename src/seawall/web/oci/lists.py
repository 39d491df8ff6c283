"""Lists of the registry API: the catalog, tags, referrers ("Content Discovery" of the specification)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from seawall.kernel.errors import RegistryError
from seawall.registry.manifest import OCI_INDEX
from seawall.registry.model import PAGE_LIMIT
from seawall.registry.protocol import ListVerbs
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.http import Request, Response


class ListHandlers:
    """Answers the requests for lists."""

    def __init__(self, registry: ListVerbs, access: RegistryAccess) -> None:
        self._registry = registry
        self._access = access

    async def catalog(self, request: Request) -> Response:
        """`GET /v2/_catalog`: the repositories of projects that the caller may read."""
        visible = await self._access.visible(request)
        n, last = _page(request)
        names = await self._registry.catalog(n + 1, last, visible) if n else []
        return _list_response({"repositories": names[:n]}, "/v2/_catalog", n, names)

    async def tags(self, request: Request, name: str) -> Response:
        """`GET /v2/<name>/tags/list`."""
        n, last = _page(request)
        found = await self._registry.tags(name, n + 1, last)
        return _list_response({"name": name, "tags": found[:n]}, f"/v2/{name}/tags/list", n, found)

    async def tags_of(
        self, request: Request, name: str, sources: Sequence[str], missing: RegistryError | None
    ) -> Response:
        """In a virtual project: the tags of all `sources`; `missing` is raised when none has the name."""
        n, last = _page(request)
        found: set[str] | None = None
        for source in sources:
            try:
                more = await self._registry.tags(source, n + 1, last)
            except RegistryError as error:
                if error.status != 404:
                    raise
                continue
            found = (found or set()) | set(more)
        if found is None:
            raise missing or RegistryError("NAME_UNKNOWN", detail={"name": name})
        listed = sorted(found)[: n + 1]
        return _list_response({"name": name, "tags": listed[:n]}, f"/v2/{name}/tags/list", n, listed)

    async def referrers(self, request: Request, name: str, digest: str) -> Response:
        """`GET /v2/<name>/referrers/<digest>`, in pages by a parameter `after` of its own."""
        artifact_type = request.text("artifactType")
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise RegistryError("UNSUPPORTED", "after must be a number", status=400)
        found, following = await self._registry.referrers(name, digest, artifact_type, PAGE_LIMIT, int(after))
        headers = {"Content-Type": OCI_INDEX}
        if artifact_type is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        if following is not None:
            query = f"after={following}"
            if artifact_type is not None:
                query += f"&artifactType={quote(artifact_type, safe='')}"
            headers["Link"] = f'</v2/{name}/referrers/{digest}?{query}>; rel="next"'
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return Response(200, headers, msgspec.json.encode(index))


def _page(request: Request) -> tuple[int, str | None]:
    value = request.query.get("n")
    n = PAGE_LIMIT
    if value:
        # Any number, since clients that want everything send the largest that they can write.
        if not value.isascii() or not value.isdigit() or len(value) > 40:
            raise RegistryError("UNSUPPORTED", "n must be a number of 0 or more", status=400)
        n = min(int(value), PAGE_LIMIT)
    return n, request.text("last")


def _list_response(content: dict[str, Any], path: str, n: int, found: list[str]) -> Response:
    headers = {"Content-Type": "application/json"}
    if n and len(found) > n:
        headers["Link"] = f'<{path}?n={n}&last={quote(found[n - 1], safe="")}>; rel="next"'
    return Response(200, headers, msgspec.json.encode(content))
