"""Preheat policies in the database, with their schedules."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.features.preheat.model import PreheatPolicy
from seawall.features.preheat.tables import preheat_instances, preheat_policies
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.executions import Executions
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import ConflictError, NotFoundError, PreconditionError


def policies_query() -> Select[Any]:
    """A query of policies; `policy_of` reads its rows."""
    return select(preheat_policies, preheat_instances.c.name.label("provider_name")).join(
        preheat_instances, preheat_instances.c.id == preheat_policies.c.provider_id
    )


def policy_of(row: Any) -> PreheatPolicy:
    """A row of `policies_query`."""
    return PreheatPolicy(
        name=row.name,
        provider_id=row.provider_id,
        description=row.description,
        filters=row.filters,
        trigger=row.trigger_type,
        cron=row.cron,
        enabled=row.enabled,
        extra=row.extra_attrs,
        project_id=row.project_id,
        id=row.id,
        provider_name=row.provider_name,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class Policies:
    """The policies of projects."""

    def __init__(self, db: Database, jobs: JobService, steps: Executions) -> None:
        self._db = db
        self._jobs = jobs
        self._steps = steps

    async def get(self, project_id: int, name: str) -> PreheatPolicy:
        """One policy of a project. Raises NotFoundError."""
        query = policies_query().where(
            preheat_policies.c.project_id == project_id, preheat_policies.c.name == name
        )
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat policy {name} not found")
        return policy_of(row)

    async def by_id(self, policy_id: int) -> PreheatPolicy:
        """One policy. Raises NotFoundError."""
        query = policies_query().where(preheat_policies.c.id == policy_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat policy {policy_id} not found")
        return policy_of(row)

    async def event_based(self, project_id: int) -> list[PreheatPolicy]:
        """The project's policies that pushes and scans set off."""
        query = policies_query().where(
            preheat_policies.c.project_id == project_id,
            preheat_policies.c.trigger_type == "event_based",
            preheat_policies.c.enabled.is_(True),
        )
        return await self._db.read(lambda c: [policy_of(row) for row in c.execute(query)])

    async def save(self, policy: PreheatPolicy, *, also: Also = nothing) -> int:
        """Store a new policy (id 0) or a changed one; returns its id.

        Raises InvalidError, NotFoundError or ConflictError.
        """
        policy.check()
        now = time.time()
        row = {
            "provider_id": policy.provider_id,
            "name": policy.name,
            "description": policy.description,
            "filters": policy.filters,
            "trigger_type": policy.trigger,
            "cron": policy.cron if policy.trigger == "scheduled" else "",
            "enabled": policy.enabled,
            "extra_attrs": policy.extra,
            "updated_at": now,
        }

        def store_policy(connection: Connection) -> int:
            provider = select(preheat_instances.c.id).where(preheat_instances.c.id == policy.provider_id)
            if connection.execute(provider).first() is None:
                raise NotFoundError(f"preheat instance {policy.provider_id} not found")
            if policy.id:
                own = preheat_policies.c.id == policy.id
                connection.execute(update(preheat_policies).where(own).values(row))
                identifier = policy.id
            else:
                values = {**row, "project_id": policy.project_id, "created_at": now}
                made = connection.execute(insert(preheat_policies).values(values)).inserted_primary_key
                assert made is not None
                identifier = int(made[0])
            cron = policy.cron if policy.trigger == "scheduled" and policy.enabled else None
            arguments = {"policy": identifier}
            self._jobs.set_schedule_in(connection, f"preheat:{identifier}", cron, "preheat", arguments)
            return identifier

        try:
            return await self._db.write(store_policy, also=also)
        except IntegrityError:
            raise ConflictError(f"the project has a preheat policy {policy.name} already") from None

    async def remove(self, policy: PreheatPolicy, *, also: Also = nothing) -> None:
        """Delete a policy with its executions. Raises PreconditionError while one runs."""
        await self._steps.settle_all(policy.id)

        def delete_policy(connection: Connection) -> None:
            running = self._steps.busy(connection, policy.id)
            if running is not None:
                raise PreconditionError(f"execution {running} of the policy is running; stop it first")
            connection.execute(delete(preheat_policies).where(preheat_policies.c.id == policy.id))
            self._jobs.set_schedule_in(connection, f"preheat:{policy.id}", None, "preheat", {})

        await self._db.write(delete_policy, also=also)
