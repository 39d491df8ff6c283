"""Figures of events on their way to subscribers."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from seawall.infra.db import dialect
from seawall.infra.outbox.tables import outbox
from seawall.infra.telemetry import Family


def figures(connection: Connection, subscribers: Iterable[str]) -> list[Family]:
    """How many events wait for each subscriber, how long, and how many have failed before."""
    now = dialect.now(connection)
    found = dict.fromkeys(subscribers, (0.0, 0.0, 0.0))
    rows = connection.execute(
        select(outbox.c.subscriber, func.count(), func.min(outbox.c.created_at)).group_by(outbox.c.subscriber)
    ).all()
    failed: dict[str, int] = dict(
        connection.execute(
            select(outbox.c.subscriber, func.count())
            .where(outbox.c.attempts > 0)
            .group_by(outbox.c.subscriber)
        ).all()
    )
    for name, number, oldest in rows:
        found[name] = (float(number), max(0.0, now - oldest), float(failed.get(name, 0)))
    texts = (
        ("seawall_outbox_events", "Events that wait for a subscriber"),
        ("seawall_outbox_lag_seconds", "Age of the oldest event that waits for a subscriber"),
        ("seawall_outbox_failing_events", "Events whose delivery to a subscriber has failed at least once"),
    )
    return [
        Family(name, text, ("subscriber",), tuple(((key,), item[at]) for key, item in sorted(found.items())))
        for at, (name, text) in enumerate(texts)
    ]
