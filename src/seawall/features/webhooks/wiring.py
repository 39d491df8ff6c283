"""Ties webhooks into the services of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seawall.features.webhooks import delivery
from seawall.features.webhooks.payload import EVENT_TYPES
from seawall.features.webhooks.recorder import EventRecorder

if TYPE_CHECKING:
    from seawall.process.wiring import Services


def install(services: Services) -> None:
    """Record events of content, deliver what policies ask for, forget old deliveries."""
    recorder = EventRecorder(services.db, services.events)
    services.hooks.add(recorder)
    services.background.append(recorder.run)
    services.events.subscribe(delivery.SUBSCRIBER, set(EVENT_TYPES), delivery.on_event(services))
    services.jobs.default_schedule("system:purge-webhooks", "0 50 3 * * *", "purge-webhooks", {})
