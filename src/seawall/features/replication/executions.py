"""Executions of replication policies, and their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from seawall.features.replication.model import ReplicationExecution, ReplicationTask
from seawall.features.replication.policies import Policies
from seawall.features.replication.tables import (
    replication_executions,
    replication_policies,
    replication_tasks,
)
from seawall.infra.db import Database
from seawall.infra.db.listing import Field, Fields, Page
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.executions import PENDING, Executions, Words
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import NotFoundError, PreconditionError

WORDS = Words(running="InProgress", success="Succeed", error="Failed")
_COUNTS = (WORDS.success, WORDS.error, WORDS.running, WORDS.stopped)
_EXECUTION = [
    replication_executions.c[key]
    for key in ("id", "policy_id", "status", "status_text", "trigger", "started_at", "ended_at")
]
_TASK = [
    replication_tasks.c[key]
    for key in (
        "id",
        "execution_id",
        "status",
        "operation",
        "resource_type",
        "src_resource",
        "dst_resource",
        "job_id",
        "started_at",
        "ended_at",
    )
]
_FIELDS: Fields = {
    "id": Field(replication_executions.c.id, "int"),
    "status": Field(replication_executions.c.status),
    "trigger": Field(replication_executions.c.trigger),
    "start_time": Field(replication_executions.c.started_at, "time"),
    "end_time": Field(replication_executions.c.ended_at, "time"),
}
_TASK_FIELDS: Fields = {
    "id": Field(replication_tasks.c.id, "int"),
    "status": Field(replication_tasks.c.status),
    "start_time": Field(replication_tasks.c.started_at, "time"),
    "end_time": Field(replication_tasks.c.ended_at, "time"),
}


class ReplicationExecutions:
    """Starts, shows and stops executions; `steps` settles them."""

    def __init__(self, db: Database, jobs: JobService, policies: Policies, steps: Executions) -> None:
        self._db = db
        self._jobs = jobs
        self._policies = policies
        self.steps = steps

    async def start(
        self,
        policy_id: int,
        trigger: str,
        resources: list[dict[str, Any]] | None = None,
        *,
        also: Also = nothing,
    ) -> int:
        """Start an execution and return its id.

        `resources` (of events): `{"operation", "repository", "references"}`; None means all that the
        filters find. Raises NotFoundError, PreconditionError when the policy is disabled or (with
        `single_active`) under way.
        """
        policy = await self._policies.get(policy_id)
        if not policy.enabled:
            raise PreconditionError("the policy is disabled")
        if policy.single_active:
            await self.steps.settle_all(policy_id)

        def insert_execution(connection: Connection) -> int:
            # The lock makes "none is under way" and "start one" a single step.
            policies = replication_policies.c
            connection.execute(select(policies.id).where(policies.id == policy_id).with_for_update())
            if policy.single_active and self.steps.busy(connection, policy_id) is not None:
                raise PreconditionError("an execution of the policy is under way already")
            return self.steps.begin(
                connection,
                "replication",
                {} if resources is None else {"resources": resources},
                job_trigger="event" if resources else "manual",
                policy_id=policy_id,
                status_text="",
                trigger=trigger,
            )

        execution = await self._db.write(insert_execution, also=also)
        self._jobs.nudge()
        return execution

    async def page(
        self,
        page: Page,
        *,
        policy_id: int | None = None,
        status: str | None = None,
        trigger: str | None = None,
    ) -> tuple[int, list[ReplicationExecution]]:
        """How many executions there are, newest first those of a page."""
        await self.steps.settle_all(policy_id)
        table = replication_executions.c
        wanted = [
            column == value
            for column, value in (
                (table.policy_id, policy_id),
                (table.status, status),
                (table.trigger, trigger),
            )
            if value is not None
        ]

        def read_executions(connection: Connection) -> tuple[int, list[ReplicationExecution]]:
            query = select(*_EXECUTION).where(*wanted)
            total, rows = page.fetch(connection, query, _FIELDS, table.id.desc())
            return total, self._with_counts(connection, rows)

        return await self._db.read(read_executions)

    async def get(self, execution_id: int) -> ReplicationExecution:
        """One execution. Raises NotFoundError."""
        await self.steps.settle(execution_id)
        query = select(*_EXECUTION).where(replication_executions.c.id == execution_id)
        found = await self._db.read(lambda c: self._with_counts(c, c.execute(query).all()))
        if not found:
            raise NotFoundError(f"replication execution {execution_id} not found")
        return found[0]

    async def tasks(self, execution_id: int) -> list[ReplicationTask]:
        """The tasks of an execution, by id."""
        table = replication_tasks.c
        query = select(*_TASK).where(table.execution_id == execution_id).order_by(table.id)
        return await self._db.read(lambda c: [ReplicationTask(*row) for row in c.execute(query)])

    async def page_of_tasks(
        self,
        execution_id: int,
        page: Page,
        *,
        status: str | None = None,
        resource_type: str | None = None,
    ) -> tuple[int, list[ReplicationTask]]:
        """How many tasks an execution has, newest first those of a page."""
        table = replication_tasks.c
        query = select(*_TASK).where(table.execution_id == execution_id)
        if status is not None:
            query = query.where(table.status == status)
        if resource_type is not None:
            query = query.where(table.resource_type == resource_type)
        total, rows = await self._db.read(lambda c: page.fetch(c, query, _TASK_FIELDS, table.id.desc()))
        return total, [ReplicationTask(*row) for row in rows]

    async def task_log(self, execution_id: int, task_id: int) -> str:
        """A task's log. Raises NotFoundError."""
        found = [item for item in await self.tasks(execution_id) if item.id == task_id]
        if not found:
            raise NotFoundError(f"task {task_id} of replication execution {execution_id} not found")
        return await self._jobs.log(found[0].job_id or "")

    async def stop(self, execution_id: int, *, also: Also = nothing) -> None:
        """Stop an execution with its tasks. Raises NotFoundError."""
        await self.get(execution_id)
        await self.steps.stop(execution_id, also=also)

    def _with_counts(self, connection: Connection, rows: Sequence[Any]) -> list[ReplicationExecution]:
        found = self.steps.counts(connection, [row[0] for row in rows])
        result = []
        for row in rows:
            mine = dict(found.get(row[0], {}))
            mine[WORDS.running] = mine.get(WORDS.running, 0) + mine.pop(PENDING, 0)
            values: Any = [*row, sum(mine.values()), *(mine.get(name, 0) for name in _COUNTS)]
            result.append(ReplicationExecution(*values))
        return result


def steps(jobs: JobService) -> Executions:
    """How the executions of replication begin, are settled and stop."""
    return Executions(jobs, replication_executions, replication_tasks, WORDS, text="status_text")
