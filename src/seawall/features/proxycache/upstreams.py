"""The upstream registries of proxy-cache projects: connections, limits, and whether they answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from seawall.access.access import times_made
from seawall.access.projects import settings_of
from seawall.features.proxycache.breaker import Breakers, counts_as_failure
from seawall.features.proxycache.filters import wants
from seawall.features.replication.adapter import Adapter, RemoteRegistry
from seawall.features.replication.adapters import open_adapter
from seawall.features.replication.limiter import KILOBIT, Limiter
from seawall.features.replication.registries import Registries
from seawall.features.replication.remote import RemoteError
from seawall.features.replication.session import Patience
from seawall.features.replication.upstreams import UpstreamRow, upstreams_of
from seawall.infra.db import Database
from seawall.infra.db.gather import Gatherer
from seawall.kernel.errors import RegistryError, SeawallError

log: Any = structlog.get_logger("seawall.proxy")

MOST_CONNECTIONS = 100
_LISTS = 8
# How long a registry may take to answer at `/v2/`.
_PING_SECONDS = 5.0
# A client waits, so there is one attempt; a job that needs more makes its own.
_PATIENCE = Patience(attempts=1, connect_seconds=5, read_seconds=20)
# How long it is remembered of a project whether it is a proxy, and its settings (seconds).
_PROJECTS_SECONDS = 1.0


@dataclass(slots=True)
class Upstream:
    """The upstream of one project."""

    project: str
    registry_id: int
    adapter: Adapter
    breakers: Breakers
    stamp: tuple[Any, ...]
    local_on_not_found: bool
    # Blobs of one repository that are fetched at once, in the whole cluster; 0 without limit.
    connections: int = 0
    filter_pattern: str = ""
    filter_kind: str = ""
    # Whether its tags are brought up to date before anybody pulls them.
    warm: bool = False
    # Lists that are asked for at once.
    lists: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LISTS))

    def check(self, repository: str) -> None:
        """Raise RegistryError 404 for a repository that the project's filter leaves out."""
        if not self.serves(repository):
            # Harbor's words: "repository filter" is looked for.
            raise RegistryError("NAME_UNKNOWN", "it does not match the project's repository filter")

    def serves(self, repository: str) -> bool:
        """Whether the project's filter lets a repository in."""
        return wants(self.filter_pattern, self.filter_kind, repository.partition("/")[2])

    def name_of(self, repository: str) -> str:
        """What the upstream calls a repository of the project."""
        name = repository.partition("/")[2]
        if self.adapter.registry.type == "docker-hub" and "/" not in name:
            return f"library/{name}"
        return name


class Upstreams:
    """The upstreams that this process has connections to, and what it does for them in the background."""

    def __init__(self, db: Database, registries: Registries) -> None:
        self._db = db
        self._registries = registries
        self._open: dict[str, Upstream] = {}
        self._known: dict[str, tuple[float, bool]] = {}
        self._rows: Gatherer[str, UpstreamRow] = Gatherer(db, upstreams_of)
        self._made: Gatherer[str, float] = Gatherer(db, times_made)
        # One for each registry, whatever the number of projects before it.
        self._breakers: dict[int, Breakers] = {}
        # Whether the registry itself answers is being asked, by its id.
        self._pings: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """End what runs in the background, and close connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in self._open.values():
            await upstream.adapter.close()

    def later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something in the background; it ends with the process."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def ordinary(self, repository: str) -> bool:
        """Whether a repository is known to be in an ordinary project; else `of` may have to look."""
        checked, is_proxy = self._known.get(repository.partition("/")[0], (0.0, True))
        return not is_proxy and time.monotonic() - checked < _PROJECTS_SECONDS

    async def of(self, repository: str) -> Upstream | None:
        """The upstream of the project a repository is in, None for ordinary projects."""
        project = repository.partition("/")[0]
        checked, is_proxy = self._known.get(project, (0.0, False))
        if time.monotonic() - checked < _PROJECTS_SECONDS:
            return self._open.get(project) if is_proxy else None
        found = await self._look_up(project)
        # A project that is not there yet may be made a proxy by another process the moment after.
        if found is not None or await self._made.get(project) is not None:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[project] = (time.monotonic(), found is not None)
        return found

    async def _look_up(self, project: str) -> Upstream | None:
        row = await self._rows.get(project)
        old = self._open.get(project)
        if row is None:
            if old is not None:
                del self._open[project]
                self.later(old.adapter.close())
            return None
        metadata = await self._db.point(lambda c: settings_of(c, row.project_id))
        speed = metadata.get("proxy_speed_kb", "")
        rate = int(speed) * KILOBIT if speed.isdigit() else 0
        stamp = (row.id, row.url, row.updated_at, rate)
        if old is None or old.stamp != stamp:
            secret = await self._registries.with_secret(row.id)
            old = self._opened(project, secret, stamp, rate)
        old.local_on_not_found = metadata.get("proxy_cache_local_on_not_found") == "true"
        most = metadata.get("max_upstream_conn", "")
        old.connections = min(int(most), MOST_CONNECTIONS) if most.isdigit() else 0
        old.warm = metadata.get("proxy_cache_warm") == "true"
        old.filter_pattern = metadata.get("proxy_cache_filter_pattern", "").strip()
        old.filter_kind = metadata.get("proxy_cache_filter_kind", "")
        return old

    def _opened(self, project: str, secret: RemoteRegistry, stamp: tuple[Any, ...], rate: int) -> Upstream:
        """The upstream as it is now, which another request may have opened meanwhile."""
        old = self._open.get(project)
        if old is not None and old.stamp == stamp:
            return old
        if old is not None:
            self.later(old.adapter.close())
            if old.stamp[:3] != stamp[:3] and self._breakers.get(secret.id) is old.breakers:
                # Another address or login: what failed before says nothing now. The first of several projects
                # before a registry sees to it; the others go on sharing with it what fails from then on.
                del self._breakers[secret.id]
        breakers = self._breakers.get(secret.id)
        if breakers is None:
            breakers = self._breakers[secret.id] = Breakers(secret.name)
        adapter = open_adapter(secret, Limiter(rate), _PATIENCE)
        found = self._open[project] = Upstream(project, secret.id, adapter, breakers, stamp, False)
        return found

    # -- how requests went -----------------------------------------------------------------------------

    def answered(self, upstream: Upstream, repository: str) -> None:
        """The upstream has answered about a repository of the project."""
        if upstream.breakers.succeeded(upstream.name_of(repository)):
            self._recovered(upstream)

    def failed(self, upstream: Upstream, repository: str, error: RemoteError) -> None:
        """A request has failed; one that the upstream refused counts as an answer."""
        if not counts_as_failure(error):
            self.answered(upstream, repository)
            return
        name = upstream.name_of(repository)
        first, fell = upstream.breakers.failed(name, str(error), error.retry_after)
        if fell:
            self._fell(upstream, str(error))
        elif first:
            log.warning(
                "upstream repository fails",
                registry=upstream.breakers.registry,
                repository=name,
                error=str(error),
            )
        if upstream.registry_id not in self._pings:
            self._pings[upstream.registry_id] = self.later(self._ping(upstream, name))

    def silent(self, upstream: Upstream, repository: str, seconds: float) -> None:
        """The upstream has not answered in time."""
        self.failed(upstream, repository, RemoteError(f"no answer within {seconds:.0f} s"))

    async def judged(self, upstream: Upstream) -> bool:
        """Whether the registry itself fails, once its ping has said so."""
        ping = self._pings.get(upstream.registry_id)
        if ping is not None:
            await asyncio.wait({ping})
        return upstream.breakers.own.failures > 0

    async def _ping(self, upstream: Upstream, failing: str) -> None:
        """Find out whether the registry fails, or only a repository of it."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await upstream.adapter.client.ping()
        except TimeoutError:
            problem = f"no answer within {_PING_SECONDS:.0f} s"
        except RemoteError as error:
            problem = str(error) if counts_as_failure(error) else ""
        else:
            problem = ""
        finally:
            self._pings.pop(upstream.registry_id, None)
        if problem:
            if not upstream.breakers.own.failures and upstream.breakers.fell(problem):
                self._fell(upstream, problem)
        elif not upstream.breakers.several() and upstream.breakers.recovered(failing):
            self._recovered(upstream)

    def _fell(self, upstream: Upstream, problem: str) -> None:
        log.warning("upstream fails", registry=upstream.breakers.registry, error=problem)
        self.later(self._mark(upstream, "unhealthy"))

    def _recovered(self, upstream: Upstream) -> None:
        log.info("upstream answers again", registry=upstream.breakers.registry)
        self.later(self._mark(upstream, "healthy"))

    async def _mark(self, upstream: Upstream, status: str) -> None:
        try:
            await self._registries.mark(upstream.registry_id, status)
        except SeawallError as error:
            log.warning("a registry's status could not be stored", error=str(error))
