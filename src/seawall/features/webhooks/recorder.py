"""Records what happens to content as events, in the transaction in which it happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

from sqlalchemy import Connection, select

from seawall.access.views import projects
from seawall.features.webhooks.tables import webhook_policies
from seawall.infra.db import Database
from seawall.infra.outbox.events import Subscribers
from seawall.kernel.context import actor
from seawall.registry.hooks import ContentHook, Deletion, Push, QuotaNotice
from seawall.registry.lookups import created_at
from seawall.registry.model import Repository, StoredManifest
from seawall.registry.repositories import find_repository

_REFRESH_SECONDS = 5.0


def artifact_event(
    connection: Connection,
    repository: Repository,
    operator: str,
    resources: list[dict[str, Any]],
    created: float | None = None,
) -> dict[str, Any]:
    """The data of an event about artifacts of a repository; `created`: when that was made, if known."""
    return {
        "id": str(uuid.uuid4()),
        "occur_at": time.time(),
        "operator": operator,
        "project_id": repository.project_id,
        "repository": repository.name,
        "repository_created": created_at(connection, repository.id) if created is None else created,
        "public": repository.public,
        "resources": resources,
    }


class EventRecorder(ContentHook):
    """PUSH_ARTIFACT, PULL_ARTIFACT, DELETE_ARTIFACT, QUOTA_EXCEED, QUOTA_WARNING."""

    blind = True

    def __init__(self, db: Database, events: Subscribers) -> None:
        self._db = db
        self._events = events
        # Projects with a policy for pulls: a pull elsewhere must not cost a write.
        self._pulls: frozenset[str] = frozenset()

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        resources = [{"digest": push.digest, "tag": tag} for tag in push.tags or (push.digest,)]
        self._events.record(
            connection,
            "PUSH_ARTIFACT",
            artifact_event(connection, push.repository, push.actor.name, resources, push.repository_created),
        )

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.after_delete; as in Harbor, only whole artifacts count, and only the root."""
        if deletion.tag is not None or not deletion.root:
            return
        resources = [{"digest": deletion.digest, "tag": tag} for tag in deletion.tags or (deletion.digest,)]
        self._events.record(
            connection,
            "DELETE_ARTIFACT",
            artifact_event(connection, deletion.repository, deletion.actor.name, resources),
        )

    def quota(self, connection: Connection, notice: QuotaNotice) -> None:
        """See ContentHook.quota."""
        data = {
            "id": str(uuid.uuid4()),
            "occur_at": time.time(),
            "operator": notice.actor.name,
            "project_id": notice.project_id,
            "event_data": {"custom_attributes": {"Details": notice.message}},
        }
        self._events.record(connection, "QUOTA_EXCEED" if notice.exceeded else "QUOTA_WARNING", data)

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """See ContentHook.before_pull."""
        if repository.partition("/")[0] not in self._pulls:
            return
        who = actor.get().name

        def record_pull(connection: Connection) -> None:
            found = find_repository(connection, repository)
            if found is not None:
                resources = [{"digest": manifest.digest, "tag": reference}]
                data = artifact_event(connection, found, who, resources)
                self._events.record(connection, "PULL_ARTIFACT", data)

        # A pull is served also when the record of it fails.
        with contextlib.suppress(Exception):
            await self._db.write(record_pull, durable=False)

    async def refresh(self) -> None:
        """Look which projects want events of pulls."""

        def read_wanted(connection: Connection) -> frozenset[str]:
            query = (
                select(projects.c.name, webhook_policies.c.event_types)
                .join(webhook_policies, webhook_policies.c.project_id == projects.c.id)
                .where(webhook_policies.c.enabled.is_(True))
            )
            return frozenset(name for name, kinds in connection.execute(query) if "PULL_ARTIFACT" in kinds)

        self._pulls = await self._db.read(read_wanted)

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(_REFRESH_SECONDS)
