"""The registry with proxy-cache projects: what is not here comes from their upstream registries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from seawall.features.proxycache.cache import PullThrough
from seawall.features.proxycache.upstreams import Upstream
from seawall.infra.telemetry import Counter
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest
from seawall.registry.model import Chunk, OpenBlob, StoredManifest
from seawall.registry.protocol import Registry, Wrapper

BLOBS = Counter(
    "seawall_proxy_blobs_total",
    "Blobs asked of proxy-cache projects: here (hit) or fetched from the upstream (miss)",
    ["result"],
    known=[("hit",), ("miss",)],
)


class ProxyCache(Wrapper):
    """Wraps a registry: reads of proxy-cache projects may go upstream, and pushes to them are refused."""

    def __init__(self, inner: Registry, pull_through: PullThrough) -> None:
        super().__init__(inner)
        self._pull_through = pull_through

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """See ListVerbs.tags; the upstream's, or with the upstream down those that are here."""
        upstream = await self._pull_through.upstreams.of(name)
        found = None if upstream is None else await self._pull_through.manifests.tags(upstream, name)
        if found is None:
            return await self.inner.tags(name, n, last)
        return [tag for tag in found if last is None or tag > last][:n]

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """See ListVerbs.referrers; the upstream's too. `after` counts the entries of the pages before."""
        upstream = await self._pull_through.upstreams.of(name)
        if upstream is None:
            return await self.inner.referrers(name, digest, artifact_type, limit, after)
        check_digest(digest)
        found = await self._pull_through.manifests.referrers(upstream, name, digest)
        if artifact_type is not None:
            found = [item for item in found if item.get("artifactType") == artifact_type]
        following = after + limit
        return found[after:following], following if len(found) > following else None

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """See ManifestVerbs.manifest."""
        if self._pull_through.upstreams.ordinary(name):
            return await self.inner.manifest(name, reference)
        upstream = await self._pull_through.upstreams.of(name)
        if upstream is None:
            return await self.inner.manifest(name, reference)
        return await self._pull_through.manifests.get(upstream, name, reference)

    async def blob_size(self, name: str, digest: str) -> int:
        """See BlobVerbs.blob_size."""
        upstream = await self._upstream_of(name, digest)
        if upstream is None:
            return await self.inner.blob_size(name, digest)
        return await self._pull_through.blobs.size(upstream, name, digest)

    async def open_blob(self, name: str, digest: str, *, whole: bool) -> OpenBlob:
        """See BlobVerbs.open_blob; a missing blob is passed on while it is stored."""
        if self._pull_through.upstreams.ordinary(name):
            return await self.inner.open_blob(name, digest, whole=whole)
        upstream = await self._upstream_of(name, digest)
        if upstream is None:
            return await self.inner.open_blob(name, digest, whole=whole)
        if not whole:
            # A part is served from the stored blob, once it is that.
            await self._pull_through.blobs.fetch(upstream, name, digest)
            return await self.inner.open_blob(name, digest, whole=whole)
        passing = await self._pull_through.blobs.get(upstream, name, digest)
        if passing is None:
            return await self.inner.open_blob(name, digest, whole=whole)
        return OpenBlob(digest, passing.size, lambda _start, _end: passing.stream)

    async def _upstream_of(self, name: str, digest: str) -> Upstream | None:
        """The upstream of a blob in a proxy-cache project that is not here; None for every other blob."""
        upstream = await self._pull_through.upstreams.of(name)
        if upstream is None:
            return None
        upstream.check(name)
        check_digest(digest)
        try:
            await self.inner.blob_size(name, digest)
        except RegistryError as error:
            if error.status != 404:
                raise
            BLOBS.inc("miss")
            return upstream
        BLOBS.inc("hit")
        return None

    # -- pushes ----------------------------------------------------------------------------------------

    async def _check_push(self, name: str) -> None:
        if await self._pull_through.upstreams.of(name) is not None:
            raise RegistryError("DENIED", "a proxy-cache project takes no pushes", status=405)

    async def put_manifest(
        self,
        name: str,
        reference: str,
        payload: bytes,
        content_type: str | None,
        extra_tags: tuple[str, ...] = (),
        digest: str | None = None,
    ) -> tuple[str, str | None]:
        """See ManifestVerbs.put_manifest."""
        await self._check_push(name)
        return await self.inner.put_manifest(name, reference, payload, content_type, extra_tags, digest)

    async def put_blob(self, name: str, digest: str, body: AsyncIterator[bytes]) -> str:
        """See BlobVerbs.put_blob."""
        await self._check_push(name)
        return await self.inner.put_blob(name, digest, body)

    async def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """See BlobVerbs.mount_blob."""
        await self._check_push(name)
        return await self.inner.mount_blob(name, digest, source)

    async def start_upload(self, name: str) -> str:
        """See UploadVerbs.start_upload."""
        await self._check_push(name)
        return await self.inner.start_upload(name)

    async def upload_offset(self, name: str, upload_id: str) -> int:
        """See UploadVerbs.upload_offset."""
        await self._check_push(name)
        return await self.inner.upload_offset(name, upload_id)

    async def append_upload(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """See UploadVerbs.append_upload."""
        await self._check_push(name)
        return await self.inner.append_upload(name, upload_id, chunk)

    async def close_upload(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """See UploadVerbs.close_upload."""
        await self._check_push(name)
        return await self.inner.close_upload(name, upload_id, digest, chunk)

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """See UploadVerbs.cancel_upload."""
        await self._check_push(name)
        await self.inner.cancel_upload(name, upload_id)
