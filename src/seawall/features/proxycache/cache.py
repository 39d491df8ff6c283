"""Proxy-cache projects: what is not here is fetched from the upstream registry, and kept.

A tag is asked for upstream (HEAD) unless it was just now. Whatever goes wrong upstream, what is here is
served; only a tag that the upstream says is gone is not. A missing blob is streamed to the client while it is
stored. Concurrent misses of a blob, on any instance, are one request upstream: the first holds a lease, the
others wait for the stored blob.

A manifest comes into the project's content once all its blobs are there (a job sees to that); an index at
once, with those of its children that have been pulled. It names the others from then on, so that each finds
its index when it comes, through whichever process.
"""

from __future__ import annotations

from seawall.features.proxycache.blobs import ProxiedBlobs
from seawall.features.proxycache.complete import Completer
from seawall.features.proxycache.manifests import ProxiedManifests
from seawall.features.proxycache.upstreams import Upstreams
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.registries import Registries
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.settings import ProxySettings
from seawall.registry.local import LocalRegistry


class PullThrough:
    """Fetches what proxy-cache projects lack from their upstreams, and has it kept."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        registries: Registries,
        settings: ProxySettings,
    ) -> None:
        local = LocalEndpoint(db, content)
        self.upstreams = Upstreams(db, registries)
        self.blobs = ProxiedBlobs(self.upstreams, db, local)
        self.completer = Completer(self.upstreams, self.blobs, content, local)
        self.manifests = ProxiedManifests(
            self.upstreams,
            content,
            local,
            jobs,
            fresh_seconds=settings.fresh_seconds,
            wait_seconds=settings.wait_seconds,
        )

    async def close(self) -> None:
        """End what runs in the background, and close connections."""
        await self.upstreams.close()
