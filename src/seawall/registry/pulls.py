"""Pull statistics: counts and times of pulls, gathered in the process and written in batches.

A pull is a read, and stays one: the hook adds to a dictionary, and a background task writes the sums every
few seconds. A killed process loses the pulls since its last write; nothing else depends on them but
retention by pull time, which counts in days.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from sqlalchemy import Connection, or_, select, update

from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.batch import later
from seawall.kernel.errors import StandbyError
from seawall.registry.hooks import ContentHook
from seawall.registry.model import StoredManifest
from seawall.registry.part import ContentPart
from seawall.registry.tables import manifests, repositories, tags


@dataclass(slots=True)
class _Pulls:
    count: int = 0
    last: float = 0
    tags: dict[str, float] = field(default_factory=dict)


class PullCounter(ContentHook):
    """Counts pulls; `run` writes them out until cancelled."""

    def __init__(self, db: Database, configuration: Configuration, *, seconds: float = 5) -> None:
        self._db = db
        self._configuration = configuration
        self._seconds = seconds
        self._pulls: dict[tuple[str, str], _Pulls] = {}

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """See ContentHook.before_pull."""
        now = time.time()
        values = await self._configuration.all()
        entry = self._pulls.get((repository, manifest.digest))
        if entry is None:
            entry = self._pulls[(repository, manifest.digest)] = _Pulls()
        if not values["pull_count_update_disable"]:
            entry.count += 1
        if values["pull_time_update_disable"]:
            return
        entry.last = now
        if ":" not in reference:
            entry.tags[reference] = now

    async def run(self) -> None:
        """Write every few seconds."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted so far; kept for the next time when the database is away."""
        if not self._pulls:
            return
        taken, self._pulls = self._pulls, {}
        try:
            await self._db.write(lambda c: _write(c, taken), durable=False)
        except StandbyError as error:
            # The active's counters are what counts; a lapse of its lease is made up for.
            if not error.lasting:
                self._pulls = {**taken, **self._pulls}
        except Exception:
            for key, entry in taken.items():
                kept = self._pulls.setdefault(key, _Pulls())
                kept.count += entry.count
                kept.last = max(kept.last, entry.last)
                kept.tags = {**entry.tags, **kept.tags}
            raise


def _write(connection: Connection, pulls: dict[tuple[str, str], _Pulls]) -> None:
    counts: dict[str, int] = {}
    for (name, _), entry in pulls.items():
        counts[name] = counts.get(name, 0) + entry.count
    names = sorted(counts)
    ids: dict[str, int] = {}
    for start in range(0, len(names), 500):
        query = select(repositories.c.name, repositories.c.id).where(
            repositories.c.name.in_(names[start : start + 500])
        )
        ids |= {row[0]: row[1] for row in connection.execute(query)}
    # In one order everywhere, so that two instances that write at once do not deadlock.
    for name in names:
        if name in ids:
            mine = update(repositories).where(repositories.c.id == ids[name])
            later(connection, mine.values(pull_count=repositories.c.pull_count + counts[name]))
    for (name, digest), entry in sorted(pulls.items(), key=lambda item: item[0]):
        if name not in ids or not entry.last:
            continue
        later(
            connection,
            update(manifests)
            .where(
                manifests.c.repository_id == ids[name],
                manifests.c.digest == digest,
                or_(manifests.c.pulled_at.is_(None), manifests.c.pulled_at < entry.last),
            )
            .values(pulled_at=entry.last),
        )
        for tag in sorted(entry.tags):
            at = entry.tags[tag]
            later(
                connection,
                update(tags)
                .where(
                    tags.c.repository_id == ids[name],
                    tags.c.name == tag,
                    or_(tags.c.pulled_at.is_(None), tags.c.pulled_at < at),
                )
                .values(pulled_at=at),
            )


def touch(connection: Connection, repository_id: int, digest: str) -> None:
    """Note that the artifact was read now, which does not count as a pull."""
    mine = (manifests.c.repository_id == repository_id) & (manifests.c.digest == digest)
    connection.execute(update(manifests).where(mine).values(pulled_at=time.time()))


def part(db: Database, configuration: Configuration) -> ContentPart:
    """Count the pulls of this process."""
    counter = PullCounter(db, configuration)
    return ContentPart(hooks=(counter,), background=(counter.run,), closers=(counter.flush,))
