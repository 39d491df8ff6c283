"""What webhooks add to a process."""

from __future__ import annotations

from seawall.features.webhooks.delivery import RETRIES, SUBSCRIBER, Deliveries
from seawall.features.webhooks.live import of_deliveries
from seawall.features.webhooks.payload import EVENT_TYPES
from seawall.features.webhooks.recorder import EventRecorder
from seawall.features.webhooks.token_notices import TokenNotices
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule, JobKind
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers, Subscription
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.registry.part import ContentPart


def part(
    db: Database,
    events: Subscribers,
    jobs: JobService,
    keys: KeyRing,
    configuration: Configuration,
    settings: Settings,
) -> ContentPart:
    """Record events of content, deliver what policies ask for, announce tokens that end."""
    recorder = EventRecorder(db, events)
    notices = TokenNotices(db, events)
    deliveries = Deliveries(
        db,
        jobs,
        keys,
        configuration,
        settings.webhooks,
        external_url=settings.external_url,
        keep_days=settings.jobs.keep_days,
    )
    return ContentPart(
        hooks=(recorder,),
        jobs=(
            JobKind(
                "webhook",
                deliveries.deliver,
                concurrency=10,
                retries=RETRIES,
                backoff_seconds=5,
                shows=of_deliveries,
            ),
            JobKind("purge-webhooks", deliveries.purge, concurrency=1, retries=2),
            JobKind("token-notices", notices.run, concurrency=1, retries=2),
        ),
        schedules=(
            DefaultSchedule("system:purge-webhooks", "0 50 3 * * *", "purge-webhooks"),
            DefaultSchedule("system:token-notices", "0 20 * * * *", "token-notices"),
        ),
        subscriptions=(Subscription(SUBSCRIBER, frozenset(EVENT_TYPES), deliveries.on_event),),
        background=(recorder.run,),
    )
