"""Events of deliveries, for event streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from seawall.features.webhooks.tables import webhook_deliveries, webhook_policies
from seawall.infra.live.events import Event


def of_deliveries(connection: Connection, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Event]:
    """The projects whose webhooks are called, with the delivery's id."""
    wanted = {args.get("delivery"): job_id for job_id, args in jobs.items()}
    query = (
        select(webhook_deliveries.c.id, webhook_policies.c.project_id)
        .join(webhook_policies, webhook_policies.c.id == webhook_deliveries.c.policy_id)
        .where(webhook_deliveries.c.id.in_([key for key in wanted if key is not None]))
    )
    return {wanted[row[0]]: Event("webhook", row[1], execution=row[0]) for row in connection.execute(query)}
