"""Manifests, tags and referrers of proxy-cache projects: what is here, and what the upstream has."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

import msgspec
import structlog

from seawall.features.proxycache.breaker import told
from seawall.features.proxycache.upstreams import Upstream, Upstreams
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.remote import RemoteError, RemoteManifest
from seawall.infra.jobs.service import JobService
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry
from seawall.registry.model import PAGE_LIMIT, StoredManifest

log: Any = structlog.get_logger("seawall.proxy")

_FILL_DELAY = 3.0
# The longest that a client waits for a manifest that is not here (seconds).
_MOST_SECONDS = 30.0
# The longest that a client waits for the upstream's list, where the one here would do.
_LIST_SECONDS = 10.0
_REMEMBERED = 10_000
# Longer lists of referrers are not remembered.
_REMEMBERED_BYTES = 64 * 1024


class ProxiedManifests:
    """Answers with the upstream's manifests and has them kept.

    A copy that is here is served unless the upstream answers soon; the question goes on in the background,
    and the next client gets what it found. While the upstream is taken to fail, nobody waits at all.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        content: LocalRegistry,
        local: LocalEndpoint,
        jobs: JobService,
        *,
        fresh_seconds: float,
        wait_seconds: float,
    ) -> None:
        """`fresh_seconds`: how long a tag is served without asking upstream again. `wait_seconds`: how long a
        client waits for the upstream where there is a copy here.
        """
        self._upstreams = upstreams
        self._content = content
        self._local = local
        self._jobs = jobs
        self._fresh_seconds = fresh_seconds
        self._wait_seconds = wait_seconds
        self._fresh: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._referrers: OrderedDict[tuple[str, str], tuple[float, list[dict[str, Any]]]] = OrderedDict()
        self._flights: dict[tuple[str, str], asyncio.Task[StoredManifest]] = {}

    async def get(self, upstream: Upstream, repository: str, reference: str) -> StoredManifest:
        """A manifest, from here or upstream. Raises RegistryError."""
        upstream.check(repository)
        here = await self._here(repository, reference)
        if here is not None and (":" in reference or self._is_fresh(repository, reference, here.digest)):
            return here
        name = upstream.name_of(repository)
        suspect = upstream.breakers.suspect(name)
        flight = self._flights.get((repository, reference))
        if flight is None:
            if not upstream.breakers.lets_through(name):
                if here is None:
                    raise upstream.breakers.refusal(name)
                return self._stale(upstream, here)
            flight = self._take_off(upstream, repository, reference, here)
        if here is None:
            return await asyncio.shield(flight)
        done, _ = await asyncio.wait({flight}, timeout=0 if suspect else self._wait_seconds)
        if done:
            return flight.result()
        if not suspect:
            self._upstreams.silent(upstream, repository, self._wait_seconds)
        return self._stale(upstream, here)

    def _stale(self, upstream: Upstream, here: StoredManifest) -> StoredManifest:
        upstream.breakers.served_stale()
        return here

    async def _here(self, repository: str, reference: str) -> StoredManifest | None:
        found = await self._local.manifest(repository, reference)
        return StoredManifest(found.digest, found.media_type, found.payload) if found else None

    def _is_fresh(self, repository: str, tag: str, digest: str) -> bool:
        known, at = self._fresh.get((repository, tag), ("", 0.0))
        return known == digest and time.monotonic() - at < self._fresh_seconds

    def _take_off(
        self, upstream: Upstream, repository: str, reference: str, here: StoredManifest | None
    ) -> asyncio.Task[StoredManifest]:
        key = (repository, reference)
        flight = self._upstreams.later(self._fetch(upstream, repository, reference, here))
        self._flights[key] = flight

        def landed(task: asyncio.Task[StoredManifest]) -> None:
            self._flights.pop(key, None)
            if not task.cancelled():
                # Nobody may be waiting any more; an error that nobody looks at is not worth a warning.
                task.exception()

        flight.add_done_callback(landed)
        return flight

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str, here: StoredManifest | None
    ) -> StoredManifest:
        name = upstream.name_of(repository)
        client = upstream.adapter.client
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                if here is not None and await client.head_manifest(name, reference) == here.digest:
                    self._upstreams.answered(upstream, repository)
                    self._remember(repository, reference, here.digest)
                    return here
                found = await client.manifest(name, reference)
            parsed = None if found is None else _read(found)
        except (RemoteError, TimeoutError) as problem:
            error = problem if isinstance(problem, RemoteError) else RemoteError("no answer in time")
            self._upstreams.failed(upstream, repository, error)
            if here is not None:
                # Whatever is wrong there, an expired password included: only a tag that is gone is gone.
                log.warning(
                    "upstream fails; serving the stored copy", repository=repository, error=str(error)
                )
                return self._stale(upstream, here)
            raise told(error) from None
        self._upstreams.answered(upstream, repository)
        if found is None or parsed is None:
            if here is not None and upstream.local_on_not_found:
                return here
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference})
        self._remember(repository, reference, found.digest)
        await self._keep(repository, reference, found, parsed)
        return StoredManifest(found.digest, found.media_type, found.payload)

    def _remember(self, repository: str, reference: str, digest: str) -> None:
        self._fresh[(repository, reference)] = (digest, time.monotonic())
        while len(self._fresh) > _REMEMBERED:
            self._fresh.popitem(last=False)

    async def _keep(
        self, repository: str, reference: str, found: RemoteManifest, parsed: manifests.Manifest
    ) -> None:
        """Have a fetched manifest stored, now or by a job."""
        # An index that names blobs (BuildKit's cache) is kept like an image, after its blobs.
        if parsed.manifests and not parsed.blobs:
            try:
                await store(self._content, repository, reference, found)
            except SeawallError as error:
                log.warning(
                    "an index from an upstream could not be stored", repository=repository, error=str(error)
                )
            return
        args: dict[str, Any] = {
            "repository": repository,
            "reference": reference,
            "digest": found.digest,
        }
        # Pulls of the same within a minute are one job.
        seed = f"{repository}:{reference}@{found.digest} {int(time.time() // 60)}"
        key = "proxy:" + hashlib.sha256(seed.encode()).hexdigest()
        await self._jobs.enqueue("proxy-fill", args, key=key, delay_seconds=_FILL_DELAY, trigger="event")

    # -- lists -----------------------------------------------------------------------------------------

    async def tags(self, upstream: Upstream, repository: str) -> list[str] | None:
        """All tags upstream, sorted; None when the upstream does not say. Raises RegistryError."""
        upstream.check(repository)
        name = upstream.name_of(repository)
        found: list[str] | None = await self._ask(upstream, repository, upstream.adapter.client.tags(name))
        return None if found is None else sorted(found)

    async def referrers(self, upstream: Upstream, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest, upstream and here; those here alone when it does not say.

        Raises RegistryError.
        """
        upstream.check(repository)
        key = (repository, digest)
        at, known = self._referrers.get(key, (0.0, []))
        if not at or time.monotonic() - at >= self._fresh_seconds:
            name = upstream.name_of(repository)
            found = await self._ask(upstream, repository, upstream.adapter.client.referrers(name, digest))
            if found is not None:
                known = found
                if len(msgspec.json.encode(found)) <= _REMEMBERED_BYTES:
                    self._referrers[key] = (time.monotonic(), found)
                while len(self._referrers) > _REMEMBERED // 10:
                    self._referrers.popitem(last=False)
        merged = {item["digest"]: item for item in known}
        after: int | None = 0
        while after is not None:
            here, after = await self._content.referrers(repository, digest, None, PAGE_LIMIT, after)
            for item in here:
                merged.setdefault(item["digest"], item)
        return list(merged.values())

    async def _ask(self, upstream: Upstream, repository: str, question: Coroutine[Any, Any, Any]) -> Any:
        """The answer to a question for a list, None without one.

        There is always a list here, so an upstream that has failed is tried in the background only.
        """
        name = upstream.name_of(repository)
        suspect = upstream.breakers.suspect(name)
        if not upstream.breakers.lets_through(name):
            question.close()
            return None
        asking = self._upstreams.later(self._answer(upstream, repository, question))
        done, _ = await asyncio.wait({asking}, timeout=0 if suspect else _LIST_SECONDS)
        return asking.result() if done else None

    async def _answer(self, upstream: Upstream, repository: str, question: Coroutine[Any, Any, Any]) -> Any:
        try:
            # Each may walk through many pages and keep them: a few at a time.
            async with asyncio.timeout(_LIST_SECONDS):
                await upstream.lists.acquire()
        except TimeoutError:
            question.close()
            return None
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                found = await question
        except TimeoutError:
            self._upstreams.silent(upstream, repository, _MOST_SECONDS)
            return None
        except RemoteError as error:
            self._upstreams.failed(upstream, repository, error)
            return None
        finally:
            upstream.lists.release()
        self._upstreams.answered(upstream, repository)
        return found


def _read(found: RemoteManifest) -> manifests.Manifest:
    """What the upstream has answered; RemoteError when that is not a manifest, such as a page for people."""
    try:
        return manifests.parse(found.payload, found.media_type or None)
    except RegistryError as error:
        raise RemoteError(f"what the upstream has is not taken: {error.message}", content=True) from None


async def store(
    content: LocalRegistry,
    repository: str,
    reference: str,
    found: RemoteManifest,
    at: float | None = None,
) -> None:
    """Store a manifest in a proxy-cache project; an index may lack children. `at`: as if pushed then."""
    before = actor.set(SYSTEM)
    try:
        await content.manifests.put(
            repository, reference, found.payload, found.media_type, sparse=True, at=at
        )
    finally:
        actor.reset(before)
