"""Job kinds of the engine's own: garbage collection, fsck, forgetting old jobs."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from seawall.infra.jobs.base import JobContext, job
from seawall.registry import fsck, gc

GC_SCHEDULE = "system:gc"
PURGE_SCHEDULE = "system:purge-jobs"


@job("gc", concurrency=1, retries=2)
async def collect_garbage(context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
    """Garbage collection; args `delete_untagged` and `dry_run` (both optional). Returns the counts."""
    services = context.services
    settings = services.settings.gc
    delete_untagged = bool(args.get("delete_untagged", settings.delete_untagged))
    dry_run = bool(args.get("dry_run", False))
    started = time.monotonic()
    await context.log(
        f"garbage collection starts (grace {settings.grace_minutes} min, "
        f"untagged manifests {'deleted' if delete_untagged else 'kept'}{', dry run' if dry_run else ''})"
    )
    report = await gc.collect(
        services.db,
        services.storage,
        grace_seconds=settings.grace_minutes * 60,
        upload_seconds=settings.upload_hours * 3600,
        delete_untagged=delete_untagged,
        dry_run=dry_run,
    )
    counts = report.as_dict()
    for name, value in counts.items():
        await context.log(f"{name.replace('_', ' ')}: {value}")
    await context.log(f"done in {time.monotonic() - started:.1f} s")
    return counts


@job("fsck", concurrency=1)
async def check_content(context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
    """Check every blob and manifest; arg `fast` compares sizes only. The log names each fault."""
    report = fsck.FsckReport()
    services = context.services
    async for finding in fsck.check(services.db, services.storage, report, fast=bool(args.get("fast"))):
        where = ", ".join(finding.repositories) or "no repository"
        await context.log(f"{finding.kind}: {finding.digest} {finding.message} ({where})", "ERROR")
        await context.checkpoint()
    await context.log(
        f"{report.blobs} blobs and {report.manifests} manifests checked, "
        f"{report.bytes} bytes read, {report.faults} faults"
    )
    return asdict(report)


@job("purge-jobs", concurrency=1, retries=2)
async def purge_jobs(context: JobContext, args: dict[str, Any]) -> int:
    """Forget jobs that ended more than `jobs.keep_days` ago."""
    days = context.services.settings.jobs.keep_days
    done = await context.services.jobs.purge(older_than_seconds=days * 86400)
    await context.log(f"{done} jobs older than {days} days forgotten")
    return done
