"""Replication policies in the database, with their schedules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.features.replication.model import Filter, ReplicationPolicy
from seawall.features.replication.tables import registries, replication_policies
from seawall.infra.db import Database
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.executions import Executions
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError
from seawall.registry import virtual

_FIELDS: Fields = {
    "id": Field(replication_policies.c.id, "int"),
    "name": Field(replication_policies.c.name),
    "description": Field(replication_policies.c.description),
    "src_registry_id": Field(replication_policies.c.src_registry_id, "int"),
    "dest_registry_id": Field(replication_policies.c.dest_registry_id, "int"),
    "dest_namespace": Field(replication_policies.c.dest_namespace),
    "override": Field(replication_policies.c.override, "bool"),
    "enabled": Field(replication_policies.c.enabled, "bool"),
    "creation_time": Field(replication_policies.c.created_at, "time"),
    "update_time": Field(replication_policies.c.updated_at, "time"),
}


class Policies:
    """The policies."""

    def __init__(self, db: Database, jobs: JobService, executions: Executions) -> None:
        self._db = db
        self._jobs = jobs
        self._executions = executions

    async def all(self) -> list[ReplicationPolicy]:
        """All policies, by id."""
        query = select(replication_policies).order_by(replication_policies.c.id)
        return await self._db.read(lambda c: [policy_of(row) for row in c.execute(query)])

    async def page(self, page: Page, name: str | None = None) -> tuple[int, list[ReplicationPolicy]]:
        """How many policies there are, newest first those of a page; `name` is part of theirs."""
        query = select(replication_policies)
        if name:
            query = query.where(contains(replication_policies.c.name, name))
        newest = replication_policies.c.id.desc()
        total, rows = await self._db.read(lambda c: page.fetch(c, query, _FIELDS, newest))
        return total, [policy_of(row) for row in rows]

    async def get(self, policy_id: int) -> ReplicationPolicy:
        """One policy. Raises NotFoundError."""
        query = select(replication_policies).where(replication_policies.c.id == policy_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"replication policy {policy_id} not found")
        return policy_of(row)

    async def add(self, policy: ReplicationPolicy, *, also: Also = nothing) -> int:
        """Store a policy and its schedule; returns its id. Raises InvalidError or ConflictError."""
        policy.check()

        def insert_policy(connection: Connection) -> int:
            _check_registry(connection, policy)
            now = time.time()
            row = {**_policy_row(policy), "created_at": now, "updated_at": now}
            made = connection.execute(insert(replication_policies).values(row)).inserted_primary_key
            assert made is not None
            self._schedule(connection, policy, int(made[0]))
            return int(made[0])

        return await self._unique(insert_policy, policy.name, also=also)

    async def change(self, policy: ReplicationPolicy, *, also: Also = nothing) -> None:
        """Replace a policy. Raises NotFoundError, InvalidError or ConflictError."""
        policy.check()

        def update_policy(connection: Connection) -> int:
            _check_registry(connection, policy)
            changed = connection.execute(
                update(replication_policies)
                .where(replication_policies.c.id == policy.id)
                .values({**_policy_row(policy), "updated_at": time.time()})
            ).rowcount
            if not changed:
                raise NotFoundError(f"replication policy {policy.id} not found")
            self._schedule(connection, policy, policy.id)
            return policy.id

        await self._unique(update_policy, policy.name, also=also)

    async def remove(self, policy_id: int, *, also: Also = nothing) -> None:
        """Forget a policy with its executions. Raises NotFoundError, PreconditionError while one runs."""
        await self._executions.settle_all(policy_id)

        def delete_policy(connection: Connection) -> None:
            if self._executions.busy(connection, policy_id) is not None:
                raise PreconditionError("an execution of the policy is under way; stop it first")
            done = connection.execute(
                delete(replication_policies).where(replication_policies.c.id == policy_id)
            ).rowcount
            if not done:
                raise NotFoundError(f"replication policy {policy_id} not found")
            self._jobs.set_schedule_in(connection, _schedule_name(policy_id), None, "replication", {})

        await self._db.write(delete_policy, also=also)

    def _schedule(self, connection: Connection, policy: ReplicationPolicy, policy_id: int) -> None:
        cron = policy.cron if policy.trigger == "scheduled" and policy.enabled else None
        self._jobs.set_schedule_in(
            connection, _schedule_name(policy_id), cron, "replication", {"policy": policy_id}
        )

    async def _unique(self, run: Any, name: str, *, also: Also) -> int:
        try:
            return int(await self._db.write(run, also=also))
        except IntegrityError:
            raise ConflictError(f"replication policy {name} exists") from None


def policy_of_values(values: Sequence[Any]) -> ReplicationPolicy:
    """A policy from the values of `event_based`'s columns."""
    return policy_of(SimpleNamespace(**dict(zip(replication_policies.c.keys(), values, strict=True))))


def policy_of(row: Any) -> ReplicationPolicy:
    """A policy from its row."""
    return ReplicationPolicy(
        name=row.name,
        description=row.description,
        src_registry_id=row.src_registry_id,
        dest_registry_id=row.dest_registry_id,
        dest_namespace=row.dest_namespace,
        replace_count=row.dest_namespace_replace_count,
        trigger=row.trigger_type,
        cron=row.cron,
        filters=[Filter(**item) for item in row.filters],
        replicate_deletion=row.replicate_deletion,
        override=row.override,
        enabled=row.enabled,
        speed=row.speed,
        copy_by_chunk=row.copy_by_chunk,
        single_active=row.single_active,
        id=row.id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _policy_row(policy: ReplicationPolicy) -> dict[str, Any]:
    row = {
        key: value
        for key, value in asdict(policy).items()
        if key not in ("id", "created_at", "updated_at", "replace_count", "trigger")
    }
    row["dest_namespace_replace_count"] = policy.replace_count
    row["trigger_type"] = policy.trigger
    return row


def _schedule_name(policy_id: int) -> str:
    return f"replication:{policy_id}"


def _check_registry(connection: Connection, policy: ReplicationPolicy) -> None:
    other = policy.src_registry_id if policy.dest_registry_id is None else policy.dest_registry_id
    if connection.execute(select(registries.c.id).where(registries.c.id == other)).first() is None:
        raise InvalidError(f"registry {other} not found")
    # Into this registry; without a namespace repositories keep their names.
    project = (policy.dest_namespace or "").partition("/")[0]
    if policy.src_registry_id is not None and virtual.named(connection, project):
        raise InvalidError(f"{project} is a virtual project: replicate into one of its members")


def anyone_listens(connection: Connection) -> bool:
    """Whether changes of any repository set a policy off."""
    return connection.execute(event_based().limit(1)).first() is not None


def event_based() -> Select[Any]:
    """A query of the enabled policies that changes of a repository may set off."""
    return select(replication_policies).where(
        replication_policies.c.enabled, replication_policies.c.trigger_type == "event_based"
    )
