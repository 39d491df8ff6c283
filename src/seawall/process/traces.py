"""Tracing of a process, where the settings want it."""

from __future__ import annotations

from collections.abc import Callable

from seawall.infra.settings import Settings


def begin(settings: Settings, service: str) -> Callable[[], None]:
    """Trace this process, which is called `service`; after its fork. Returns what ends it.

    Without `trace.enabled` nothing is imported.
    """
    if not settings.trace.enabled:
        return _nothing
    from seawall.infra.otlp import Sender

    return Sender(settings.trace, service).close


def _nothing() -> None:
    pass
