"""From an event to its deliveries: subscriber of the outbox, and the job that sends.

The event is in the outbox in the transaction of the change; the dispatcher hands it to `on_event`, which
writes a delivery and its job for each target of each policy that wants it, in one transaction. So once the
change is committed, a crash anywhere leads to a second attempt, never to none. A receiver may get an event
twice.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from typing import Any

import httpx
from sqlalchemy import Connection, delete, select, update

from seawall.features.webhooks import guard
from seawall.features.webhooks import payload as payloads
from seawall.features.webhooks.policies import (
    PURPOSE,
    Delivery,
    Target,
    WebhookPolicy,
    deliveries,
    policies,
)
from seawall.features.webhooks.tables import webhook_deliveries, webhook_policies
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.infra.jobs.base import JobContext
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import WebhookSettings
from seawall.kernel.errors import ConfigError, InvalidError

SUBSCRIBER = "webhooks"
RETRIES = 10
_LOG_LIMIT = 64 * 1024


class DeliveryError(Exception):
    """The receiver did not take the event; the job engine tries again later."""


class Deliveries:
    """Makes deliveries from events, and sends them."""

    def __init__(
        self,
        db: Database,
        jobs: JobService,
        keys: KeyRing,
        configuration: Configuration,
        settings: WebhookSettings,
        *,
        external_url: str | None,
        keep_days: int,
    ) -> None:
        """`external_url` is where events say that the registry is; `keep_days`: life of a delivery's row."""
        self._db = db
        self._jobs = jobs
        self._keys = keys
        self._configuration = configuration
        self._settings = settings
        self._external_url = external_url
        self._keep_days = keep_days

    async def on_event(self, kind: str, data: dict[str, Any]) -> None:
        """The outbox handler that makes deliveries."""
        project_id = data.get("project_id")
        if not isinstance(project_id, int):
            return

        def wanting(connection: Connection) -> dict[int, int]:
            query = policies().where(
                webhook_policies.c.project_id == project_id, webhook_policies.c.enabled.is_(True)
            )
            found = [WebhookPolicy(*row) for row in connection.execute(query)]
            return {policy.id: len(policy.targets) for policy in found if kind in policy.event_types}

        # Most projects have no webhooks: for them an event costs one read.
        counts = await self._db.read(wanting)
        if not counts or not await self._configuration.get("notification_enable"):
            return
        await self._db.write(lambda c: self._record(c, counts, kind, data))
        self._jobs.nudge()

    def _record(
        self, connection: Connection, counts: dict[int, int], kind: str, data: dict[str, Any]
    ) -> None:
        """Add a delivery and its job for each target; `counts`: policies with their numbers of targets."""
        now = time.time()
        # The same event handed over twice is the same delivery.
        seed = json.dumps(data, sort_keys=True).encode()
        event = str(data.get("id") or hashlib.sha256(seed).hexdigest())[:64]
        alive = (
            select(webhook_policies.c.id).where(webhook_policies.c.id.in_(counts)).with_for_update(read=True)
        )
        for policy_id in connection.execute(alive).scalars().all():
            for target in range(counts[policy_id]):
                row = {
                    "policy_id": policy_id,
                    "event": event,
                    "target": target,
                    "event_type": kind,
                    "data": data,
                    "status": "pending",
                    "created_at": now,
                    "updated_at": now,
                }
                self._add(connection, row)

    def _add(self, connection: Connection, row: dict[str, Any]) -> None:
        add = upsert(connection, webhook_deliveries, row, ("policy_id", "event", "target"))
        delivery_id = connection.execute(add.returning(webhook_deliveries.c.id)).scalar()
        if delivery_id is None:
            return
        job_id = self._jobs.enqueue_in(
            connection,
            "webhook",
            {"delivery": delivery_id},
            key=f"webhook:{delivery_id}",
            trigger="event",
        )
        connection.execute(
            update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id).values(job_id=job_id)
        )

    async def deliver(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Send one delivery; arg `delivery`: its id. Tried again with growing waits for about 80 minutes."""
        delivery_id = int(args["delivery"])

        def load(connection: Connection) -> tuple[Delivery, WebhookPolicy] | None:
            row = connection.execute(deliveries().where(webhook_deliveries.c.id == delivery_id)).first()
            if row is None:
                return None
            found = Delivery(*row)
            policy = connection.execute(policies().where(webhook_policies.c.id == found.policy_id)).first()
            return (found, WebhookPolicy(*policy)) if policy else None

        loaded = await self._db.read(load)
        if loaded is None:
            await context.log("the webhook policy is gone")
            return {"status": "gone"}
        found, policy = loaded
        if found.status == "success":
            # Killed between the receiver's answer and the job's end.
            return {"status": "success"}
        if found.target >= len(policy.targets):
            await self._note(found, context, "error", "the policy does not have this target any more")
            return {"status": "gone"}
        try:
            outcome = await self._send(policy, policy.targets[found.target], found)
        except (guard.RefusedError, InvalidError, ConfigError) as error:
            # No later attempt can go better unless somebody changes something.
            await self._note(found, context, "error", str(error))
            return {"status": "error", "message": str(error)}
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            outcome = f"{type(error).__name__}: {error}"
        if outcome is None:
            await self._note(found, context, "success", "delivered")
            return {"status": "success"}
        last = context.attempt > RETRIES
        await self._note(found, context, "error" if last else "pending", outcome)
        raise DeliveryError(outcome)

    async def _send(self, policy: WebhookPolicy, target: Target, found: Delivery) -> str | None:
        """POST the event; None when the receiver took it, else what went wrong."""
        content_type, content = payloads.body(
            target.target_type,
            target.payload_format,
            found.event_type,
            {**found.data, "id": found.event},
            external_url=self._external_url,
            project_id=policy.project_id,
            policy_id=policy.id,
        )
        headers = {"Content-Type": content_type, "User-Agent": "seawall-webhook"}
        if target.secret:
            headers["Authorization"] = self._keys.decrypt(PURPOSE, target.secret).decode()
        settings = self._settings
        answer = await guard.post(
            target.address,
            content,
            headers,
            allow=guard.networks(settings.allow_networks),
            verify=not target.skip_verify,
            seconds=settings.timeout_seconds,
        )
        if 200 <= answer.status < 300:
            return None
        return f"HTTP {answer.status}: {answer.body[:500]}"

    async def _note(self, found: Delivery, context: JobContext, status: str, message: str) -> None:
        now = time.time()
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{moment} attempt {context.attempt}: {message}\n"
        await context.log(message, "INFO" if status == "success" else "ERROR")
        await self._db.write(
            lambda c: c.execute(
                update(webhook_deliveries)
                .where(webhook_deliveries.c.id == found.id)
                .values(
                    status=status,
                    attempts=context.attempt,
                    log=(found.log + line)[-_LOG_LIMIT:],
                    updated_at=now,
                    ended_at=None if status == "pending" else now,
                )
            )
        )

    async def purge(self, context: JobContext, args: dict[str, Any]) -> int:
        """Forget deliveries older than `jobs.keep_days`."""
        cutoff = time.time() - self._keep_days * 86400
        total = 0
        while True:

            def delete_batch(connection: Connection) -> int:
                old = (
                    select(webhook_deliveries.c.id)
                    .where(webhook_deliveries.c.created_at < cutoff)
                    .order_by(webhook_deliveries.c.created_at)
                    .limit(500)
                )
                ids = connection.execute(old).scalars().all()
                if ids:
                    connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(ids)))
                return len(ids)

            done = await self._db.write(delete_batch)
            total += done
            if done < 500:
                return total
