"""What the proxy cache adds to a process."""

from __future__ import annotations

from seawall.features.proxycache.cache import PullThrough
from seawall.features.proxycache.jobs import EXPIRE_SCHEDULE, ProxyJobs
from seawall.features.proxycache.warm import WARM_SCHEDULE, Warmer
from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule, JobKind
from seawall.infra.part import Part
from seawall.registry.local import LocalRegistry


def part(db: Database, content: LocalRegistry, cache: PullThrough, keep_days: float) -> Part:
    """Complete what was pulled through, delete what nobody has pulled for `keep_days`, and warm tags."""
    work = ProxyJobs(db, content, cache, keep_days)
    warmer = Warmer(db, content, cache)
    return Part(
        jobs=(
            JobKind("proxy-fill", work.fill, concurrency=8, retries=3, backoff_seconds=10),
            JobKind("proxy-expire", work.expire, concurrency=1),
            JobKind("proxy-warm", warmer.warm, concurrency=1),
        ),
        schedules=(
            DefaultSchedule(EXPIRE_SCHEDULE, "0 30 3 * * *", "proxy-expire"),
            DefaultSchedule(WARM_SCHEDULE, "0 20 * * * *", "proxy-warm"),
        ),
        closers=(cache.close,),
    )
