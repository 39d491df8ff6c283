"""What retention adds to a process."""

from __future__ import annotations

from seawall.features.retention.tables import retention_executions, retention_policies
from seawall.features.retention.work import RetentionJobs
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobKind
from seawall.infra.jobs.executions import shown
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.infra.part import Part
from seawall.registry.local import LocalRegistry


def part(
    db: Database, content: LocalRegistry, jobs: JobService, events: Subscribers, external_url: str | None
) -> Part:
    """Delete what no rule of a project's policy keeps, by hand or by a schedule."""
    work = RetentionJobs(db, content, jobs, events, external_url)
    shows = shown("retention", retention_executions, None, retention_policies)
    return Part(
        jobs=(
            JobKind("retention-schedule", work.on_schedule, concurrency=2),
            JobKind("retention", work.run, concurrency=2, retries=2, shows=shows),
        )
    )
