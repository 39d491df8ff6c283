"""The engine's own job: forgetting jobs that ended long ago."""

from __future__ import annotations

from typing import Any

from seawall.infra.jobs.base import DefaultSchedule, JobContext, JobKind
from seawall.infra.jobs.service import JobService

PURGE_SCHEDULE = DefaultSchedule("system:purge-jobs", "0 45 3 * * *", "purge-jobs")


def purge_kind(jobs: JobService, keep_days: int) -> JobKind:
    """The kind of job that forgets jobs which ended more than `keep_days` ago."""

    async def purge_jobs(context: JobContext, args: dict[str, Any]) -> int:
        done = await jobs.purge(older_than_seconds=keep_days * 86400)
        await context.log(f"{done} jobs older than {keep_days} days forgotten")
        return done

    return JobKind("purge-jobs", purge_jobs, concurrency=1, retries=2)
