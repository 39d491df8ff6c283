"""Job kinds of content: garbage collection and fsck."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule, JobContext, JobKind
from seawall.infra.live.events import system
from seawall.infra.part import Part
from seawall.infra.settings import GcSettings, ScrubSettings
from seawall.infra.storage import BlobStorage
from seawall.registry import fsck, gc, scrub

GC_SCHEDULE = "system:gc"
SCRUB_SCHEDULE = "system:scrub"


class ContentJobs:
    """The work of the jobs that look after stored content."""

    def __init__(
        self, db: Database, storage: BlobStorage, settings: GcSettings, scrubbing: ScrubSettings
    ) -> None:
        self._db = db
        self._storage = storage
        self._settings = settings
        self._scrubbing = scrubbing

    async def collect_garbage(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Garbage collection; args `delete_untagged` and `dry_run` (both optional). Returns the counts."""
        settings = self._settings
        delete_untagged = bool(args.get("delete_untagged", settings.delete_untagged))
        dry_run = bool(args.get("dry_run", False))
        started = time.monotonic()
        # Words that scripts look for in the log of Harbor's garbage collection.
        await context.log(
            f"garbage collection starts: delete_untagged: {str(delete_untagged).lower()}, "
            f"dry run: {str(dry_run).lower()}, grace: {settings.grace_minutes} min, "
            f"workers: {args.get('workers', 1)}"
        )
        report = await gc.collect(
            self._db,
            self._storage,
            grace_seconds=settings.grace_minutes * 60,
            upload_seconds=settings.upload_hours * 3600,
            delete_untagged=delete_untagged,
            dry_run=dry_run,
            say=context.log,
        )
        counts = report.as_dict()
        manifests = report.manifests + report.deleted_manifests
        await context.log(f"{report.blobs} blobs and {manifests} manifests eligible for deletion")
        for name, value in counts.items():
            await context.log(f"{name.replace('_', ' ')}: {value}")
        await context.log(f"done in {time.monotonic() - started:.1f} s")
        return counts

    async def check_content(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Check every blob and manifest; arg `fast` compares sizes only. The log names each fault."""
        report = fsck.FsckReport()
        async for finding in fsck.check(self._db, self._storage, report, fast=bool(args.get("fast"))):
            where = ", ".join(finding.repositories) or "no repository"
            await context.log(f"{finding.kind}: {finding.digest} {finding.message} ({where})", "ERROR")
            await context.checkpoint()
        await context.log(
            f"{report.blobs} blobs and {report.manifests} manifests checked, "
            f"{report.bytes} bytes read, {report.faults} faults"
        )
        return asdict(report)

    async def scrub(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Prove blobs for a time, at a rate; args `minutes` and `megabytes_per_second` (both optional)."""
        settings = self._scrubbing
        report = scrub.ScrubReport()
        async for finding in scrub.scrub(
            self._db,
            self._storage,
            report,
            bytes_per_second=float(args.get("megabytes_per_second", settings.megabytes_per_second)) * 1e6,
            seconds=float(args.get("minutes", settings.minutes)) * 60,
        ):
            where = ", ".join(finding.repositories) or "no repository"
            await context.log(f"{finding.kind}: {finding.digest} {finding.message} ({where})", "ERROR")
            await context.checkpoint()
        await context.log(f"{report.blobs} blobs proven, {report.bytes} bytes, {report.faults} faults")
        return asdict(report)


def part(db: Database, storage: BlobStorage, settings: GcSettings, scrubbing: ScrubSettings) -> Part:
    """Garbage collection and scrub, by a schedule where the settings have one, and fsck."""
    work = ContentJobs(db, storage, settings, scrubbing)
    schedules = ((GC_SCHEDULE, settings.schedule, "gc"), (SCRUB_SCHEDULE, scrubbing.schedule, "scrub"))
    return Part(
        jobs=(
            JobKind("gc", work.collect_garbage, concurrency=1, retries=2, shows=system("gc")),
            JobKind("fsck", work.check_content, concurrency=1),
            JobKind("scrub", work.scrub, concurrency=1),
        ),
        schedules=tuple(DefaultSchedule(name, cron, kind) for name, cron, kind in schedules if cron),
    )
