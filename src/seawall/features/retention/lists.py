"""Lists of executions and tasks of retention."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from seawall.features.retention.tables import retention_executions, retention_tasks
from seawall.infra.db.listing import Page


def list_executions(connection: Connection, policy_id: int, page: Page) -> tuple[int, list[Any]]:
    """Rows of the executions of a policy, newest first; the page's conditions are not used."""
    mine = retention_executions.c.policy_id == policy_id
    total = connection.execute(select(func.count()).select_from(retention_executions).where(mine))
    query = select(retention_executions).where(mine).order_by(retention_executions.c.id.desc())
    return total.scalar_one(), list(connection.execute(page.slice(query)))


def list_tasks(connection: Connection, execution_id: int, page: Page) -> tuple[int, list[Any]]:
    """Rows of the tasks of an execution, newest first; the page's conditions are not used."""
    mine = retention_tasks.c.execution_id == execution_id
    total = connection.execute(select(func.count()).select_from(retention_tasks).where(mine))
    query = select(retention_tasks).where(mine).order_by(retention_tasks.c.id.desc())
    return total.scalar_one(), list(connection.execute(page.slice(query)))


def task_log(connection: Connection, execution_id: int, task_id: int) -> str | None:
    """The log of a task, None when there is no such task."""
    return connection.execute(
        select(retention_tasks.c.log).where(
            retention_tasks.c.execution_id == execution_id, retention_tasks.c.id == task_id
        )
    ).scalar()
