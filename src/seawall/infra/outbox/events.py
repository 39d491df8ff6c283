"""Events through the transactional outbox.

`record` is called inside the transaction of a change: the event commits with the change or not at all.
Afterwards the outbox dispatcher (`seawall.infra.jobs`) hands each event to its subscriber at least once, also
when the instance that recorded it has died.

Kinds are Harbor's webhook event types where Harbor has one (PUSH_ARTIFACT, PULL_ARTIFACT, DELETE_ARTIFACT,
SCANNING_COMPLETED, SCANNING_FAILED, SCANNING_STOPPED, QUOTA_EXCEED, QUOTA_WARNING, REPLICATION,
TAG_RETENTION). Their data, which webhooks are made from
(`seawall.features.webhooks.recorder.artifact_event`):

    {"id": uuid text, "occur_at": Unix seconds, "operator": name, "project_id": number,
     "repository": "project/path", "repository_created": Unix seconds, "public": bool,
     "resources": [{"digest": ..., "tag": ..., ...}], "event_data": {what else Harbor's event_data has}}
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from seawall.infra import tracing
from seawall.infra.db.batch import later
from seawall.infra.outbox.tables import outbox

# Built once (see `seawall.infra.db.batch.Asked`).
_INSERT = insert(outbox)

Handler = Callable[[str, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants events of `kinds`: `handler(kind, data)` must be idempotent.

    `name` is stored with each waiting event, so it stays the same from version to version.
    """

    name: str
    kinds: frozenset[str]
    handler: Handler


@dataclass(slots=True)
class Subscribers:
    """Who wants which events: handlers by subscriber name, subscriber names by kind."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    kinds: dict[str, set[str]] = field(default_factory=dict)

    def subscribe(self, *subscriptions: Subscription) -> None:
        """Deliver events to the handlers of the subscriptions."""
        for item in subscriptions:
            self.handlers[item.name] = item.handler
            for kind in item.kinds:
                self.kinds.setdefault(kind, set()).add(item.name)

    def record(self, connection: Connection, kind: str, data: dict[str, Any]) -> None:
        """Write the event for each of its subscribers into the outbox, when the transaction ends."""
        trace = tracing.traceparent()
        rows = [
            {"kind": kind, "subscriber": name, "data": data, "created_at": time.time(), "trace": trace}
            for name in sorted(self.kinds.get(kind, ()))
        ]
        if rows:
            later(connection, _INSERT, rows)
