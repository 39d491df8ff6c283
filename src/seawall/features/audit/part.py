"""What the audit log adds to a process."""

from __future__ import annotations

from collections.abc import Sequence

from seawall.access.erasure import KIND, Erasure
from seawall.features.audit.erase import Eraser, EraseUser
from seawall.features.audit.trail import SYSLOG_EVENT, AuditHook, AuditTrail, Purge
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobKind
from seawall.infra.live.events import system
from seawall.infra.outbox.events import Subscription
from seawall.registry.part import ContentPart

SUBSCRIBER = "audit-syslog"


def part(
    db: Database, trail: AuditTrail, configuration: Configuration, erasure: Erasure, erasers: Sequence[Eraser]
) -> ContentPart:
    """Record pushes, deletions and pulls, forward entries to a syslog server, purge old ones.

    `erasers` take a removed user's name out of what other features keep.
    """
    hook = AuditHook(db, trail, configuration)
    return ContentPart(
        hooks=(hook,),
        jobs=(
            JobKind("purge-audit", Purge(db).run, concurrency=1, retries=2, shows=system("purge")),
            JobKind(KIND, EraseUser(db, erasure, erasers).run, concurrency=1, retries=10),
        ),
        subscriptions=(Subscription(SUBSCRIBER, frozenset({SYSLOG_EVENT}), trail.forward),),
        background=(hook.run,),
        closers=(hook.flush,),
    )
