"""The jobs of the proxy cache: completing what was pulled, and deleting what nobody pulls."""

from __future__ import annotations

from typing import Any

from seawall.features.proxycache.cache import PullThrough
from seawall.features.proxycache.manifests import store
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext
from seawall.kernel.errors import RegistryError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import unpulled_copies

EXPIRE_SCHEDULE = "system:proxy-expire"


class ProxyJobs:
    """The work of the proxy cache's jobs."""

    def __init__(self, db: Database, content: LocalRegistry, cache: PullThrough, keep_days: float) -> None:
        """`keep_days`: what nobody has pulled for so long is deleted; 0 keeps it."""
        self._db = db
        self._content = content
        self._cache = cache
        self._keep_days = keep_days

    async def fill(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Complete a pulled image of a proxy-cache project: missing blobs, then the manifest and its tag."""
        cache = self._cache
        repository, reference, digest = args["repository"], args["reference"], args["digest"]
        upstream = await cache.upstreams.of(repository)
        if upstream is None:
            return {"stored": False}
        found = await upstream.adapter.client.manifest(upstream.name_of(repository), digest)
        if found is None:
            await context.log(f"{repository}@{digest} is not upstream any more")
            return {"stored": False}
        parsed = manifests.parse(found.payload, found.media_type or None)
        for blob in parsed.blobs:
            await context.checkpoint()
            await cache.blobs.fetch(upstream, repository, blob)
        await store(self._content, repository, reference, found)
        await context.log(f"{repository}:{reference} is kept ({digest})")
        return {"stored": True}

    async def expire(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Delete what nobody has pulled for `proxy.keep_days` from proxy-cache projects."""
        days = float(args.get("days", self._keep_days))
        if days <= 0:
            return {"deleted": 0}
        # Not this host's clock: ahead of the others, it would have copies expire that are in use.
        cutoff = self._db.now() - days * 86400
        deleted = 0
        left = await self._db.read(lambda c: unpulled_copies(c, cutoff))
        some_gone, staying = True, list[tuple[str, str, RegistryError]]()
        # A child of an index can go once the index has, and stays when that stays.
        while some_gone:
            some_gone, staying = False, []
            for repository, digest in left:
                await context.checkpoint()
                try:
                    await self._content.delete_manifest(repository, digest)
                except RegistryError as error:
                    staying.append((repository, digest, error))
                    continue
                some_gone = True
                deleted += 1
                await context.log(f"{repository}@{digest} deleted")
            left = [(repository, digest) for repository, digest, _ in staying]
        for repository, digest, reason in staying:
            await context.log(f"{repository}@{digest} stays: {reason}")
        return {"deleted": deleted}
