"""What replication adds to a process."""

from __future__ import annotations

from typing import Any

from seawall.features.replication.events import DELETED, PUSHED, ReplicationHook, handler, own_id
from seawall.features.replication.plan import Planner
from seawall.features.replication.service import Replication
from seawall.features.replication.tables import replication_executions, replication_tasks
from seawall.features.replication.tasks import TASK_RETRIES, TaskRunner
from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule, JobContext, JobKind
from seawall.infra.jobs.executions import shown
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers, Subscription
from seawall.infra.secrets.keyring import KeyRing
from seawall.registry.local import LocalRegistry
from seawall.registry.part import ContentPart
from seawall.registry.protocol import Complete

CHECK_SCHEDULE = "system:registry-health"


def part(
    db: Database,
    content: LocalRegistry,
    jobs: JobService,
    events: Subscribers,
    keys: KeyRing,
    replication: Replication,
    external_url: str | None,
    complete: Complete,
) -> ContentPart:
    """Copy content to and from other registries, by hand, by a schedule or when it changes.

    `complete` brings images of proxied indexes that nobody has pulled.
    """

    def own() -> str:
        return own_id(keys, external_url)

    async def check_registries(_context: JobContext, _args: dict[str, Any]) -> dict[str, str]:
        return await replication.registries.check_all()

    planner = Planner(db, jobs, replication)
    runner = TaskRunner(db, content, replication, own, complete)
    return ContentPart(
        hooks=(ReplicationHook(events, jobs.nudge, own),),
        jobs=(
            JobKind(
                "replication",
                planner.plan,
                concurrency=10,
                retries=2,
                shows=shown("replication", replication_executions, None, None),
            ),
            JobKind(
                "replication-task",
                runner.run_task,
                concurrency=10,
                retries=TASK_RETRIES,
                backoff_seconds=5,
                shows=shown("replication", replication_executions, replication_tasks, None),
            ),
            JobKind("registry-health", check_registries, concurrency=1),
        ),
        schedules=(DefaultSchedule(CHECK_SCHEDULE, "30 */5 * * * *", "registry-health"),),
        subscriptions=(Subscription("replication", frozenset({PUSHED, DELETED}), handler(replication)),),
    )
