"""What replication adds to a process."""

from __future__ import annotations

from seawall.features.replication.service import ReplicationService
from seawall.features.replication.work import (
    CHECK_SCHEDULE,
    DELETED,
    PUSHED,
    TASK_RETRIES,
    ReplicationHook,
    ReplicationJobs,
    handler,
    own_id,
)
from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule, JobKind
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers, Subscription
from seawall.infra.secrets.keyring import KeyRing
from seawall.registry.local import LocalRegistry
from seawall.registry.part import ContentPart


def part(
    db: Database,
    content: LocalRegistry,
    jobs: JobService,
    events: Subscribers,
    keys: KeyRing,
    replication: ReplicationService,
    external_url: str | None,
) -> ContentPart:
    """Copy content to and from other registries, by hand, by a schedule or when it changes."""

    def own() -> str:
        return own_id(keys, external_url)

    work = ReplicationJobs(db, content, jobs, replication, own)
    return ContentPart(
        hooks=(ReplicationHook(events, jobs.nudge, own),),
        jobs=(
            JobKind("replication", work.plan, concurrency=10, retries=2),
            JobKind(
                "replication-task", work.run_task, concurrency=10, retries=TASK_RETRIES, backoff_seconds=5
            ),
            JobKind("registry-health", work.check_registries, concurrency=1),
        ),
        schedules=(DefaultSchedule(CHECK_SCHEDULE, "30 */5 * * * *", "registry-health"),),
        subscriptions=(Subscription("replication", frozenset({PUSHED, DELETED}), handler(replication)),),
    )
