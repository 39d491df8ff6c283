"""Fetching whole manifests: of an index that is copied out of the cache, and of a tag that has moved."""

from __future__ import annotations

from seawall.features.proxycache.blobs import ProxiedBlobs
from seawall.features.proxycache.breaker import told
from seawall.features.proxycache.manifests import store
from seawall.features.proxycache.upstreams import Upstream, Upstreams
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.remote import RemoteError, RemoteManifest
from seawall.kernel.errors import RegistryError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry

# An index in an index in an index ... ends somewhere.
_DEEPEST = 8


class Completer:
    """Brings what a manifest of a proxy-cache project names and nobody has pulled yet."""

    def __init__(
        self, upstreams: Upstreams, blobs: ProxiedBlobs, content: LocalRegistry, local: LocalEndpoint
    ) -> None:
        self._upstreams = upstreams
        self._blobs = blobs
        self._content = content
        self._local = local

    async def complete(self, repository: str, digest: str) -> bool:
        """Have a manifest here with its blobs, an index with all of its images; whether it is.

        False when the repository is in no proxy-cache project, or neither is the manifest here nor does the
        upstream have it. Raises RegistryError when the upstream lacks a part or does not answer.
        """
        upstream = await self._upstreams.of(repository)
        if upstream is None:
            return False
        return await self.bring(upstream, repository, digest)

    async def bring(
        self, upstream: Upstream, repository: str, digest: str, depth: int = 0, at: float | None = None
    ) -> bool:
        """`complete`, of an upstream that is known; `at` dates what is stored (Unix seconds)."""
        if depth > _DEEPEST:
            raise RegistryError("MANIFEST_INVALID", "indexes are nested too deep")
        here = await self._local.manifest(repository, digest)
        found = here or await self._fetch(upstream, repository, digest)
        if found is None:
            return False
        for child in manifests.parse(found.payload, found.media_type or None).manifests:
            if not await self.bring(upstream, repository, child, depth + 1, at):
                raise RegistryError(
                    "MANIFEST_UNKNOWN",
                    f"{child}, an image of {digest}, was never pulled and is not upstream any more",
                )
        if here is None:
            await self.keep(upstream, repository, digest, found, at)
        return True

    async def keep(
        self,
        upstream: Upstream,
        repository: str,
        reference: str,
        found: RemoteManifest,
        at: float | None = None,
    ) -> None:
        """Store a manifest under a tag or its digest, after its blobs. Raises RegistryError."""
        for blob in manifests.parse(found.payload, found.media_type or None).blobs:
            await self._blobs.fetch(upstream, repository, blob)
        await store(self._content, repository, reference, found, at)

    async def _fetch(self, upstream: Upstream, repository: str, digest: str) -> RemoteManifest | None:
        upstream.check(repository)
        name = upstream.name_of(repository)
        if not upstream.breakers.lets_through(name):
            raise upstream.breakers.refusal(name)
        try:
            found = await upstream.adapter.client.manifest(name, digest)
        except RemoteError as error:
            self._upstreams.failed(upstream, repository, error)
            raise told(error) from None
        self._upstreams.answered(upstream, repository)
        return found
