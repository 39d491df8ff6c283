"""Proxy-cache projects: what is not here is fetched from the upstream registry, and kept.

A tag is asked for upstream (HEAD) unless it was just now; with the upstream down, what is here is served.
A missing blob is streamed to the client while it is stored. Concurrent misses of a blob, on any instance,
are one request upstream: the first holds a lease, the others wait for the stored blob.

A manifest comes into the project's content once all its blobs are there (a job sees to that); an index at
once, with those of its children that have been pulled.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import re2
import structlog

from seawall.access.projects import settings_of
from seawall.features.replication.adapters import Adapter, open_adapter
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.limiter import KILOBIT, Limiter
from seawall.features.replication.remote import RemoteError, RemoteManifest
from seawall.features.replication.service import ReplicationService
from seawall.features.replication.upstreams import upstream_of
from seawall.infra import leases
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext
from seawall.infra.jobs.service import JobService
from seawall.infra.storage.base import UploadBusyError
from seawall.kernel import globs
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import InvalidError, RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import unpulled_copies
from seawall.registry.model import StoredManifest

log: Any = structlog.get_logger("seawall.proxy")

EXPIRE_SCHEDULE = "system:proxy-expire"
# How long it is remembered which projects are proxies (seconds).
_PROJECTS_SECONDS = 5.0
_FILL_DELAY = 3.0
MOST_CONNECTIONS = 100


@dataclass(slots=True)
class Upstream:
    """The upstream of one project."""

    project: str
    registry_id: int
    adapter: Adapter
    stamp: tuple[Any, ...]
    local_on_not_found: bool
    # Blobs of one repository that are fetched at once, in the whole cluster; 0 without limit.
    connections: int = 0
    filter_pattern: str = ""
    filter_kind: str = ""

    def check(self, repository: str) -> None:
        """Raise RegistryError 404 for a repository that the project's filter leaves out."""
        if not wants(self.filter_pattern, self.filter_kind, repository.partition("/")[2]):
            raise RegistryError("NAME_UNKNOWN", "the project's filter leaves this repository out")

    def name_of(self, repository: str) -> str:
        """What the upstream calls a repository of the project."""
        name = repository.partition("/")[2]
        if self.adapter.registry.type == "docker-hub" and "/" not in name:
            return f"library/{name}"
        return name


@dataclass(slots=True)
class Passing:
    """A blob on its way through: size in bytes and the bytes."""

    size: int
    stream: AsyncIterator[bytes]


class PullThrough:
    """Fetches what proxy-cache projects lack from their upstreams, and has it kept."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        replication: ReplicationService,
        fresh_seconds: float,
    ) -> None:
        """`fresh_seconds`: how long a tag is served without asking upstream again."""
        self._db = db
        self._content = content
        self._jobs = jobs
        self._replication = replication
        self._local = LocalEndpoint(db, content)
        self._fresh_seconds = fresh_seconds
        self._upstreams: dict[str, Upstream] = {}
        self._known: dict[str, tuple[float, bool]] = {}
        self._fresh: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        # child digest -> (index digest, tag) of indexes that were served.
        self._parents: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._flights: dict[tuple[str, str], asyncio.Task[StoredManifest]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in self._upstreams.values():
            await upstream.adapter.close()

    async def of(self, repository: str) -> Upstream | None:
        """The upstream of the project a repository is in, None for ordinary projects."""
        project = repository.partition("/")[0]
        checked, is_proxy = self._known.get(project, (0.0, False))
        if time.monotonic() - checked < _PROJECTS_SECONDS:
            return self._upstreams.get(project) if is_proxy else None
        found = await self._look_up(project)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[project] = (time.monotonic(), found is not None)
        return found

    async def _look_up(self, project: str) -> Upstream | None:
        row = await self._db.point(lambda c: upstream_of(c, project))
        old = self._upstreams.get(project)
        if row is None:
            if old is not None:
                del self._upstreams[project]
                self._later(old.adapter.close())
            return None
        metadata = await self._db.point(lambda c: settings_of(c, row.project_id))
        speed = metadata.get("proxy_speed_kb", "")
        rate = int(speed) * KILOBIT if speed.isdigit() else 0
        stamp = (row.id, row.url, row.updated_at, rate)
        if old is None or old.stamp != stamp:
            secret = await self._replication.secret_registry(row.id)
            adapter = open_adapter(secret, Limiter(rate))
            if old is not None:
                self._later(old.adapter.close())
            old = self._upstreams[project] = Upstream(project, row.id, adapter, stamp, False)
        old.local_on_not_found = metadata.get("proxy_cache_local_on_not_found") == "true"
        most = metadata.get("max_upstream_conn", "")
        old.connections = min(int(most), MOST_CONNECTIONS) if most.isdigit() else 0
        old.filter_pattern = metadata.get("proxy_cache_filter_pattern", "").strip()
        old.filter_kind = metadata.get("proxy_cache_filter_kind", "")
        return old

    # -- manifests -----------------------------------------------------------------------------------

    async def manifest(self, upstream: Upstream, repository: str, reference: str) -> StoredManifest:
        """A manifest, from here or upstream. Raises RegistryError."""
        upstream.check(repository)
        here = await self._here(repository, reference)
        if here is not None and (":" in reference or self._is_fresh(repository, reference, here.digest)):
            return here
        key = (repository, reference)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fetch(upstream, repository, reference, here))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _here(self, repository: str, reference: str) -> StoredManifest | None:
        found = await self._local.manifest(repository, reference)
        return StoredManifest(found.digest, found.media_type, found.payload) if found else None

    def _is_fresh(self, repository: str, tag: str, digest: str) -> bool:
        known, at = self._fresh.get((repository, tag), ("", 0.0))
        return known == digest and time.monotonic() - at < self._fresh_seconds

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str, here: StoredManifest | None
    ) -> StoredManifest:
        name = upstream.name_of(repository)
        client = upstream.adapter.client
        try:
            if here is not None:
                digest = await client.head_manifest(name, reference)
                if digest == here.digest:
                    self._remember(repository, reference, digest)
                    return here
            found = await client.manifest(name, reference)
        except RemoteError as error:
            if here is not None and (error.status in (0, 429) or error.status >= 500):
                log.warning("upstream is down; serving what is here", repository=repository, error=str(error))
                return here
            raise _error(error) from None
        if found is None:
            if here is not None and upstream.local_on_not_found:
                return here
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference})
        self._remember(repository, reference, found.digest)
        await self._keep(repository, reference, found)
        return StoredManifest(found.digest, found.media_type, found.payload)

    def _remember(self, repository: str, reference: str, digest: str) -> None:
        self._fresh[(repository, reference)] = (digest, time.monotonic())
        while len(self._fresh) > 10_000:
            self._fresh.popitem(last=False)

    async def _keep(self, repository: str, reference: str, found: RemoteManifest) -> None:
        """Have a fetched manifest stored, now or by a job."""
        parsed = manifests.parse(found.payload, found.media_type or None)
        for child in parsed.manifests:
            self._parents[(repository, child)] = found.digest
        while len(self._parents) > 20_000:
            self._parents.popitem(last=False)
        # An index that names blobs (BuildKit's cache) is kept like an image, after its blobs.
        if parsed.manifests and not parsed.blobs:
            try:
                await store(self._content, repository, reference, found)
            except SeawallError as error:
                log.warning("an index is not kept", repository=repository, error=str(error))
            return
        args: dict[str, Any] = {
            "repository": repository,
            "reference": reference,
            "digest": found.digest,
            "parent": self._parents.get((repository, found.digest)),
        }
        # Pulls of the same within a minute are one job.
        seed = f"{repository}:{reference}@{found.digest} {int(time.time() // 60)}"
        key = "proxy:" + hashlib.sha256(seed.encode()).hexdigest()
        await self._jobs.enqueue("proxy-fill", args, key=key, delay_seconds=_FILL_DELAY, trigger="event")

    async def tags(self, upstream: Upstream, repository: str) -> list[str] | None:
        """All tags upstream, sorted; None when the upstream is down. Raises RegistryError."""
        upstream.check(repository)
        try:
            return sorted(await upstream.adapter.client.tags(upstream.name_of(repository)))
        except RemoteError:
            return None

    # -- blobs ---------------------------------------------------------------------------------------

    async def blob_size(self, upstream: Upstream, repository: str, digest: str) -> int:
        """The size of a blob that is not here. Raises RegistryError."""
        size, stream = await self._open(upstream, repository, digest)
        await stream.aclose()
        return size

    async def blob(self, upstream: Upstream, repository: str, digest: str) -> Passing | None:
        """A blob that is not here, on its way through; None when it is here after all.

        Raises RegistryError, TOOMANYREQUESTS with `max_upstream_conn` blobs of the repository under way.
        """
        lease = await self._lease(repository, digest)
        if lease is None:
            return None
        held = [lease]
        try:
            if upstream.connections:
                held.append(await self._connection(upstream, repository))
            size, stream = await self._open(upstream, repository, digest)
        except BaseException:
            for item in held:
                await item.release()
            raise
        # Bounded: a slow client slows the download, memory stays flat.
        queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(16)
        reader = _Reader(queue)
        self._later(self._store(repository, digest, size, stream, reader, held))
        return Passing(size, reader.read())

    async def fetch(self, upstream: Upstream, repository: str, digest: str) -> None:
        """Make sure a blob is here. Raises RegistryError."""
        passing = await self.blob(upstream, repository, digest)
        if passing is not None:
            async for _ in passing.stream:
                pass

    async def _open(self, upstream: Upstream, repository: str, digest: str) -> tuple[int, Any]:
        try:
            found = await upstream.adapter.client.open_blob(upstream.name_of(repository), digest)
        except RemoteError as error:
            raise _error(error) from None
        if found is None:
            raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
        return found

    async def _connection(self, upstream: Upstream, repository: str) -> leases.Lease:
        name = "pc-" + hashlib.sha256(repository.encode()).hexdigest()[:24]
        slot = await leases.acquire_slot(self._db, name, upstream.connections)
        if slot is None:
            raise RegistryError(
                "TOOMANYREQUESTS",
                "too many connections to the upstream registry",
                headers={"Retry-After": "1"},
            )
        return slot

    async def _lease(self, repository: str, digest: str) -> leases.Lease | None:
        """The right to fetch a blob; None once it is here."""
        seed = hashlib.sha256(f"{repository}@{digest}".encode()).hexdigest()
        while not await self._local.has_blob(repository, digest):
            try:
                lease = await leases.acquire(self._db, f"px-{seed[:32]}")
            except UploadBusyError:
                await asyncio.sleep(0.2)
                continue
            if await self._local.has_blob(repository, digest):
                await lease.release()
                return None
            return lease
        return None

    async def _store(
        self, repository: str, digest: str, size: int, stream: Any, reader: _Reader, held: list[leases.Lease]
    ) -> None:
        actor.set(SYSTEM)

        async def source(_offset: int) -> AsyncIterator[bytes]:
            async for data in stream:
                await reader.pass_on(data)
                yield data

        async def opened(_location: str) -> None:
            """No session outlives this fetch."""

        try:
            await self._local.put_blob(
                repository, digest, size, source, session=None, opened=opened, by_chunk=False, mount_from=None
            )
            await reader.pass_on(None)
        except BaseException as error:
            await reader.pass_on(error if isinstance(error, Exception) else RuntimeError("stopped"))
            if isinstance(error, SeawallError):
                log.warning("a blob is not kept", repository=repository, digest=digest, error=str(error))
                return
            raise
        finally:
            await stream.aclose()
            for item in held:
                await item.release()

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Reader:
    """The client's end of a blob that is being stored."""

    def __init__(self, queue: asyncio.Queue[bytes | BaseException | None]) -> None:
        self._queue = queue
        self._gone = False

    async def pass_on(self, item: bytes | BaseException | None) -> None:
        """Give the client a part, its end (None) or the failure; nothing once the client is gone."""
        while not self._gone:
            try:
                await asyncio.wait_for(self._queue.put(item), 1)
            except TimeoutError:
                continue
            return

    async def read(self) -> AsyncIterator[bytes]:
        """The parts."""
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._gone = True


def wants(pattern: str, kind: str, repository: str) -> bool:
    """Whether a project's filter lets a repository (without the project's name) through; one that is no
    pattern lets none through.
    """
    if not pattern:
        return True
    if kind == "regex":
        expression = _expression(pattern)
        return expression is not None and expression.fullmatch(repository) is not None
    try:
        return globs.matches(pattern, repository)
    except InvalidError:
        return False


@functools.lru_cache(maxsize=256)
def _expression(pattern: str) -> Any:
    # RE2, as in Harbor: a pattern comes from a project's administrator, and its time must be bounded.
    try:
        return re2.compile(pattern)
    except re2.error:
        return None


def _error(error: RemoteError) -> RegistryError:
    """What a client is told when the upstream fails."""
    if error.status == 404:
        return RegistryError("NAME_UNKNOWN", "unknown to the upstream registry")
    if error.status == 429:
        return RegistryError("TOOMANYREQUESTS", "the upstream registry limits its requests")
    if error.status in (401, 403):
        return RegistryError("DENIED", "the upstream registry refuses", status=403)
    return RegistryError("UNAVAILABLE", "the upstream registry cannot be reached", status=503)


async def store(content: LocalRegistry, repository: str, reference: str, found: RemoteManifest) -> None:
    """Store a manifest in a proxy-cache project; an index may lack children."""
    before = actor.set(SYSTEM)
    try:
        await content.manifests.put(repository, reference, found.payload, found.media_type, sparse=True)
    finally:
        actor.reset(before)


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
        upstream = await cache.of(repository)
        if upstream is None:
            return {"stored": False}
        found = await upstream.adapter.client.manifest(upstream.name_of(repository), digest)
        if found is None:
            await context.log(f"{repository}@{digest} is not upstream any more")
            return {"stored": False}
        parsed = manifests.parse(found.payload, found.media_type or None)
        for blob in parsed.blobs:
            await context.checkpoint()
            await cache.fetch(upstream, repository, blob)
        await store(self._content, repository, reference, found)
        await context.log(f"{repository}:{reference} is kept ({digest})")
        if args.get("parent"):
            # Stored again, the index learns of its new child.
            index = await LocalEndpoint(self._db, self._content).manifest(repository, args["parent"])
            if index is not None:
                await store(self._content, repository, index.digest, index)
        return {"stored": True}

    async def expire(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Delete what nobody has pulled for `proxy.keep_days` from proxy-cache projects."""
        days = float(args.get("days", self._keep_days))
        if days <= 0:
            return {"deleted": 0}
        cutoff = time.time() - days * 86400
        deleted = 0
        for repository, digest in await self._db.read(lambda c: unpulled_copies(c, cutoff)):
            await context.checkpoint()
            try:
                await self._content.delete_manifest(repository, digest)
            except RegistryError as error:
                # A child of an index that stays stays too.
                await context.log(f"{repository}@{digest} stays: {error}")
                continue
            deleted += 1
            await context.log(f"{repository}@{digest} deleted")
        return {"deleted": deleted}
