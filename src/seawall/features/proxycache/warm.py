"""Warming: tags that a proxy-cache project serves are brought up to date before anybody pulls them again.

A project with the metadata `proxy_cache_warm` takes part. Each run asks its upstream once for each tag that
is here; one that has moved is fetched with its blobs, of an index those platforms that were pulled of the one
before. Warming does not count as use: a tag that nobody pulls expires as if nobody had warmed it.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from seawall.features.proxycache.breaker import counts_as_failure
from seawall.features.proxycache.cache import PullThrough
from seawall.features.proxycache.upstreams import Upstream
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.remote import RemoteError, RemoteManifest
from seawall.features.replication.upstreams import proxies
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry
from seawall.registry.tags import ServedTag, served_tags

WARM_SCHEDULE = "system:proxy-warm"
_PAGE = 500


class _UpstreamFailsError(Exception):
    """The upstream does not answer, or limits requests: the run leaves it alone."""


class Warmer:
    """The work of the job `proxy-warm`."""

    def __init__(self, db: Database, content: LocalRegistry, cache: PullThrough) -> None:
        self._db = db
        self._cache = cache
        self._local = LocalEndpoint(db, content)

    async def warm(self, context: JobContext, args: dict[str, Any]) -> dict[str, int]:
        """Bring the tags of proxy-cache projects up to date; `args["project"]` names one, by default all.

        Returns how many tags were checked, had moved, and failed. An upstream that fails is left alone.
        """
        counts = {"checked": 0, "moved": 0, "failed": 0}
        for row in await self._db.read(proxies):
            if args.get("project", row.project) != row.project:
                continue
            upstream = await self._cache.upstreams.of(row.project)
            if upstream is None or not upstream.warm:
                continue
            try:
                await self._project(context, upstream, row.project, counts)
            except _UpstreamFailsError as error:
                counts["failed"] += 1
                await context.log(f"{row.project}: {error}", "WARNING")
        return counts

    async def _project(
        self, context: JobContext, upstream: Upstream, project: str, counts: dict[str, int]
    ) -> None:
        after = ("", "")
        while True:
            page = await self._db.read(partial(served_tags, project=project, after=after, limit=_PAGE))
            for tag in page:
                await context.checkpoint()
                try:
                    moved = await self._tag(upstream, tag)
                except SeawallError as error:
                    counts["failed"] += 1
                    await context.log(f"{tag.repository}:{tag.name}: {error}", "WARNING")
                    continue
                counts["checked"] += 1
                if moved is not None:
                    counts["moved"] += 1
                    await context.log(f"{tag.repository}:{tag.name} is now {moved}")
            if len(page) < _PAGE:
                return
            after = (page[-1].repository, page[-1].name)

    async def _tag(self, upstream: Upstream, tag: ServedTag) -> str | None:
        """The digest that a tag has moved to and that is here now; None when it has not moved.

        Raises SeawallError, and _UpstreamFailsError when it makes no sense to go on.
        """
        if not upstream.serves(tag.repository):
            return None
        client, name = upstream.adapter.client, upstream.name_of(tag.repository)
        if not upstream.breakers.lets_through(name):
            if await self._cache.upstreams.judged(upstream):
                raise _UpstreamFailsError(f"the upstream fails: {upstream.breakers.own.reason}")
            raise upstream.breakers.refusal(name)
        try:
            digest = await client.head_manifest(name, tag.name)
            found = None if digest in (None, tag.digest) else await client.manifest(name, tag.name)
        except RemoteError as error:
            self._cache.upstreams.failed(upstream, tag.repository, error)
            if counts_as_failure(error) and await self._cache.upstreams.judged(upstream):
                raise _UpstreamFailsError(str(error)) from None
            raise
        self._cache.upstreams.answered(upstream, tag.repository)
        if found is None or found.digest == tag.digest:
            return None
        before = await self._local.manifest(tag.repository, tag.digest)
        for child in await self._wanted(tag.repository, before, found):
            if not await self._cache.completer.bring(upstream, tag.repository, child, at=tag.used_at):
                raise RegistryError("MANIFEST_UNKNOWN", f"{child} is not upstream")
        await self._cache.completer.keep(upstream, tag.repository, tag.name, found, at=tag.used_at)
        return found.digest

    async def _wanted(
        self, repository: str, before: RemoteManifest | None, found: RemoteManifest
    ) -> list[str]:
        """Of an index the images for platforms whose images of the index before are here."""
        if before is None:
            return []
        here = {
            platform
            for digest, platform in _images(before)
            if await self._local.manifest(repository, digest) is not None
        }
        return [digest for digest, platform in _images(found) if platform in here]


def _images(found: RemoteManifest) -> list[tuple[str, str]]:
    """(digest, platform as text) of what an index names, attestations left out; of an image nothing."""
    named = manifests.parse(found.payload, found.media_type or None).manifests
    if not named:
        return []
    entries = json.loads(found.payload).get("manifests") or []
    return [
        (entry["digest"], json.dumps(entry.get("platform"), sort_keys=True))
        for entry in entries
        if entry.get("digest") in named
        and "vnd.docker.reference.type" not in (entry.get("annotations") or {})
    ]
