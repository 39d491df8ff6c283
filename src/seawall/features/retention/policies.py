"""The retention policies of projects, with their schedules."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from seawall.features.retention.tables import retention_policies
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.registry import virtual

_POLICY = (
    retention_policies.c.id,
    retention_policies.c.project_id,
    retention_policies.c.algorithm,
    retention_policies.c.rules,
    retention_policies.c.cron,
)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """A project's policy; `cron` empty: only by hand."""

    id: int
    project_id: int
    algorithm: str
    rules: list[dict[str, Any]]
    cron: str


def get(connection: Connection, policy_id: int) -> RetentionPolicy:
    """One policy. Raises NotFoundError."""
    row = connection.execute(select(*_POLICY).where(retention_policies.c.id == policy_id)).first()
    if row is None:
        raise NotFoundError(f"retention policy {policy_id} not found")
    return RetentionPolicy(*row)


def policy_ids(connection: Connection, project_ids: Collection[int]) -> dict[int, int]:
    """The ids of the projects' policies, by project; those without one are left out."""
    query = select(retention_policies.c.project_id, retention_policies.c.id).where(
        retention_policies.c.project_id.in_(project_ids)
    )
    return dict(connection.execute(query).tuples().all())


def create(
    connection: Connection, jobs: JobService, project_id: int, rules: list[dict[str, Any]], cron: str
) -> int:
    """Add the project's policy; returns its id.

    Raises InvalidError when it has one, PreconditionError for a virtual project.
    """
    virtual.refuse(connection, project_id, "retention rules")
    exists = connection.execute(
        select(retention_policies.c.id).where(retention_policies.c.project_id == project_id)
    ).scalar()
    if exists is not None:
        raise InvalidError(f"the project has retention policy {exists} already")
    now = time.time()
    policy_id = int(
        connection.execute(
            insert(retention_policies)
            .values(
                project_id=project_id,
                algorithm="or",
                rules=rules,
                cron=cron,
                created_at=now,
                updated_at=now,
            )
            .returning(retention_policies.c.id)
        ).scalar_one()
    )
    _schedule(connection, jobs, policy_id, cron)
    return policy_id


def change(
    connection: Connection, jobs: JobService, policy_id: int, rules: list[dict[str, Any]], cron: str
) -> None:
    """Replace rules and schedule. Raises NotFoundError."""
    get(connection, policy_id)
    connection.execute(
        update(retention_policies)
        .where(retention_policies.c.id == policy_id)
        .values(rules=rules, cron=cron, updated_at=time.time())
    )
    _schedule(connection, jobs, policy_id, cron)


def remove(connection: Connection, jobs: JobService, policy_id: int) -> None:
    """Delete the policy with its history. Raises NotFoundError."""
    get(connection, policy_id)
    _schedule(connection, jobs, policy_id, "")
    connection.execute(delete(retention_policies).where(retention_policies.c.id == policy_id))


def _schedule(connection: Connection, jobs: JobService, policy_id: int, cron: str) -> None:
    jobs.set_schedule_in(
        connection, f"retention:{policy_id}", cron or None, "retention-schedule", {"policy": policy_id}
    )
