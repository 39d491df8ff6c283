"""What preheating adds to a process."""

from __future__ import annotations

from seawall.access.service import AuthService
from seawall.access.tokens import TokenService
from seawall.features.preheat.service import Preheat
from seawall.features.preheat.tables import preheat_executions, preheat_policies, preheat_tasks
from seawall.features.preheat.work import LABELED, PreheatHook, PreheatJobs
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobKind
from seawall.infra.jobs.executions import shown
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscription
from seawall.registry.part import ContentPart


def part(
    db: Database,
    jobs: JobService,
    preheat: Preheat,
    auth: AuthService,
    tokens: TokenService,
    registry_url: str,
) -> ContentPart:
    """Send what policies select to distribution networks, by hand, by a schedule or when it changes."""
    work = PreheatJobs(db, jobs, preheat, auth, tokens, registry_url)
    hook = PreheatHook(db, jobs)
    return ContentPart(
        hooks=(hook,),
        jobs=(
            JobKind(
                "preheat",
                work.plan,
                concurrency=4,
                shows=shown("preheat", preheat_executions, None, preheat_policies),
            ),
            JobKind(
                "preheat-task",
                work.run_task,
                concurrency=10,
                shows=shown("preheat", preheat_executions, preheat_tasks, preheat_policies),
            ),
            JobKind("preheat-event", work.event, concurrency=4, retries=2),
        ),
        subscriptions=(Subscription("preheat", frozenset({"SCANNING_COMPLETED", LABELED}), hook.on_event),),
    )
