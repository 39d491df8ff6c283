"""What the audit log adds to a process."""

from __future__ import annotations

from seawall.features.audit.trail import SYSLOG_EVENT, AuditHook, AuditTrail, Purge
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobKind
from seawall.infra.outbox.events import Subscription
from seawall.registry.part import ContentPart


def part(db: Database, trail: AuditTrail, configuration: Configuration) -> ContentPart:
    """Record pushes, deletions and pulls, forward entries to a syslog server, purge old ones."""
    hook = AuditHook(db, trail, configuration)
    return ContentPart(
        hooks=(hook,),
        jobs=(JobKind("purge-audit", Purge(db).run, concurrency=1, retries=2),),
        subscriptions=(Subscription("audit-syslog", frozenset({SYSLOG_EVENT}), trail.forward),),
        background=(hook.run,),
        closers=(hook.flush,),
    )
