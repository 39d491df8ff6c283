"""Figures of the whole cluster: one instance computes them now and then, and every one shows them.

An instance that is asked for metrics and finds the figures too old computes them under a lease; the others
show those that there are. So a cluster that nobody scrapes computes nothing, and ten instances that are
scraped compute once in `metrics.cluster_seconds`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from sqlalchemy import Connection, select

from seawall.access import figures as access
from seawall.availability.cluster.tables import cluster_figures, instances
from seawall.features.replication import figures as replication
from seawall.infra import leases
from seawall.infra.db import Database, dialect
from seawall.infra.db.dialect import upsert
from seawall.infra.jobs import figures as jobs
from seawall.infra.outbox import figures as outbox
from seawall.infra.telemetry import Family
from seawall.kernel.errors import UnavailableError
from seawall.registry import figures as registry

log: Any = structlog.get_logger("seawall.metrics")

_NAME = "cluster"
# The first scrape waits for figures so long; later ones get those of before meanwhile.
_FIRST_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class Figures:
    """Computes the figures, or reads those that another instance computed."""

    def __init__(
        self,
        db: Database,
        *,
        every_seconds: float,
        projects: int,
        dead_seconds: float,
        kinds: Callable[[], Iterable[str]],
        subscribers: Callable[[], Iterable[str]],
        harbors: Callable[[str], str],
    ) -> None:
        """`projects`: of how many at most there are figures of each.

        `harbors`: Harbor's name of a job kind.
        """
        self._db = db
        self._every = every_seconds
        self._projects = projects
        self._dead = dead_seconds
        self._kinds = kinds
        self._subscribers = subscribers
        self._harbors = harbors
        self._kept: list[Family] = []
        self._computed_at = 0.0
        self._read_at = -1e9
        self._work: asyncio.Task[None] | None = None

    async def read(self) -> list[Family]:
        """The newest figures, and how old they are; none when the database is away."""
        if self._work is None and time.monotonic() - self._read_at > min(5.0, self._every / 2):
            self._work = asyncio.create_task(self._refresh())
            self._work.add_done_callback(self._refreshed)
        if not self._kept and self._work is not None:
            await asyncio.wait({self._work}, timeout=_FIRST_SECONDS)
        if not self._kept:
            return []
        age = Family.single(
            "seawall_cluster_figures_age_seconds",
            "Age of the figures of the whole cluster",
            max(0.0, self._db.now() - self._computed_at),
        )
        return [*self._kept, age]

    def _refreshed(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if not work.cancelled() and (error := work.exception()) is not None:
            log.warning("cannot compute the figures of the cluster", error=f"{type(error).__name__}: {error}")

    async def _refresh(self) -> None:
        self._read_at = time.monotonic()
        try:
            await self._take_newest()
            if self._db.now() - self._computed_at < self._every:
                return
            lease = await leases.acquire_slot(self._db, "cluster-figures", 1)
            if lease is None:
                # Another instance computes them; one that has none yet waits for those.
                deadline = time.monotonic() + _FIRST_SECONDS
                while not self._kept and time.monotonic() < deadline:
                    await asyncio.sleep(_LOOK_SECONDS)
                    await self._take_newest()
                return
            try:
                await self._take_newest()
                if self._db.now() - self._computed_at >= self._every:
                    await self._compute()
                    await self._take_newest()
            finally:
                await lease.release()
        except UnavailableError:
            return

    async def _take_newest(self) -> None:
        query = select(cluster_figures.c.families, cluster_figures.c.computed_at).where(
            cluster_figures.c.name == _NAME
        )
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is not None and row.computed_at > self._computed_at:
            self._kept = [
                Family(name, text, tuple(labels), tuple((tuple(values), value) for values, value in samples))
                for name, text, labels, samples in row.families
            ]
            self._computed_at = row.computed_at

    async def _compute(self) -> None:
        started = time.perf_counter()
        families = await self._db.read(self.compute)
        seconds = time.perf_counter() - started
        families.append(
            Family.single(
                "seawall_cluster_figures_seconds",
                "How long it took to compute the figures of the whole cluster",
                round(seconds, 4),
            )
        )
        stored = [[item.name, item.help, item.labels, item.samples] for item in families]

        def write(connection: Connection) -> None:
            row = {
                "name": _NAME,
                "families": stored,
                "computed_at": dialect.now(connection),
                "seconds": seconds,
            }
            connection.execute(
                upsert(connection, cluster_figures, row, "name", ("families", "computed_at", "seconds"))
            )

        await self._db.write(write, durable=False)

    def compute(self, connection: Connection) -> list[Family]:
        """The figures as they are now."""
        stored = registry.figures(connection, self._projects)
        named = next(item for item in stored if item.name == "harbor_project_quota_byte")
        shown = {values[0] for values, _ in named.samples}
        return [
            *stored,
            *access.figures(connection, shown),
            *jobs.figures(connection, self._kinds(), self._harbors),
            *outbox.figures(connection, self._subscribers()),
            *replication.figures(connection),
            *leases.figures(connection),
            *self._instances(connection),
        ]

    def _instances(self, connection: Connection) -> list[Family]:
        now = dialect.now(connection)
        rows = connection.execute(
            select(instances.c.version, instances.c.seen_at, instances.c.clock_skew).where(
                instances.c.started_at > 0
            )
        ).all()
        alive = [row for row in rows if now - row.seen_at < self._dead]
        skew = max((abs(row.clock_skew) for row in alive), default=0.0)
        return [
            Family(
                "seawall_instances",
                "Instances of the cluster; dead: those that stopped reporting within the last day",
                ("state",),
                ((("alive",), float(len(alive))), (("dead",), float(len(rows) - len(alive)))),
            ),
            Family.single(
                "seawall_instance_versions",
                "Number of different versions among the instances that are alive",
                float(len({row.version for row in alive})),
            ),
            Family.single(
                "seawall_clock_skew_seconds",
                "Largest difference between an instance's clock and the database's",
                float(skew),
            ),
        ]
