"""Executions of retention policies. One job does all of an execution, repository by repository."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from seawall.features.retention.policies import get
from seawall.features.retention.tables import retention_executions, retention_tasks
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.executions import Executions, Words
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import NotFoundError

WORDS = Words(running="Running", success="Success", error="Error")
COLUMNS = tuple(
    retention_executions.c[name]
    for name in (
        "id", "policy_id", "trigger", "dry_run", "status", "operator", "job_id", "started_at", "ended_at",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RetentionExecution:
    """One run of a policy. `status`: Pending, Running, Success, Error, Stopped."""

    id: int
    policy_id: int
    trigger: str
    dry_run: bool
    status: str
    operator: str
    job_id: str | None
    started_at: float
    ended_at: float | None


def steps(jobs: JobService) -> Executions:
    """How the executions of retention begin, are settled and stop."""
    return Executions(jobs, retention_executions, retention_tasks, WORDS)


def start(
    connection: Connection, jobs: JobService, policy_id: int, *, dry_run: bool, trigger: str, operator: str
) -> int:
    """Begin an execution; returns its id. Raises NotFoundError."""
    get(connection, policy_id)
    return steps(jobs).begin(
        connection,
        "retention",
        {},
        job_trigger="schedule" if trigger == "Schedule" else "manual",
        policy_id=policy_id,
        trigger=trigger,
        dry_run=dry_run,
        operator=operator,
    )


def execution(connection: Connection, policy_id: int, execution_id: int) -> RetentionExecution:
    """One execution of a policy. Raises NotFoundError."""
    row = connection.execute(
        select(*COLUMNS).where(
            retention_executions.c.policy_id == policy_id, retention_executions.c.id == execution_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"retention execution {execution_id} not found")
    return RetentionExecution(*row)


async def stop(
    db: Database, jobs: JobService, policy_id: int, execution_id: int, *, also: Also = nothing
) -> None:
    """Ask an execution to stop before its next repository. Raises NotFoundError."""
    await db.read(lambda c: execution(c, policy_id, execution_id))
    await steps(jobs).stop(execution_id, also=also)


def erase_operator(connection: Connection, name: str, pseudonym: str) -> None:
    """Write `pseudonym` for the name of a user who was removed."""
    table = retention_executions
    connection.execute(update(table).where(table.c.operator == name).values(operator=pseudonym))
