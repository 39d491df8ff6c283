"""Lists of instances, policies, executions and tasks of preheating."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select

from seawall.features.preheat.instances import instances_query
from seawall.features.preheat.model import InstanceRow, PreheatExecution, PreheatPolicy
from seawall.features.preheat.policies import policies_query, policy_of
from seawall.features.preheat.tables import (
    preheat_executions,
    preheat_instances,
    preheat_policies,
    preheat_tasks,
)
from seawall.infra.db.listing import Field, Fields, Page
from seawall.infra.jobs.executions import count_tasks

_INSTANCES: Fields = {
    "id": Field(preheat_instances.c.id, "int"),
    "name": Field(preheat_instances.c.name),
    "vendor": Field(preheat_instances.c.vendor),
    "endpoint": Field(preheat_instances.c.endpoint),
    "enabled": Field(preheat_instances.c.enabled, "bool"),
    "default": Field(preheat_instances.c.is_default, "bool"),
}
_POLICIES: Fields = {
    "id": Field(preheat_policies.c.id, "int"),
    "name": Field(preheat_policies.c.name),
    "provider_id": Field(preheat_policies.c.provider_id, "int"),
    "enabled": Field(preheat_policies.c.enabled, "bool"),
    "trigger": Field(preheat_policies.c.trigger_type),
    "creation_time": Field(preheat_policies.c.created_at, "time"),
    "update_time": Field(preheat_policies.c.updated_at, "time"),
}
_EXECUTIONS: Fields = {
    "id": Field(preheat_executions.c.id, "int"),
    "status": Field(preheat_executions.c.status),
    "trigger": Field(func.upper(preheat_executions.c.trigger)),
    "start_time": Field(preheat_executions.c.started_at, "time"),
    "end_time": Field(preheat_executions.c.ended_at, "time"),
}
_TASKS: Fields = {
    "id": Field(preheat_tasks.c.id, "int"),
    "status": Field(preheat_tasks.c.status),
    "digest": Field(preheat_tasks.c.digest),
    "creation_time": Field(preheat_tasks.c.created_at, "time"),
    "update_time": Field(preheat_tasks.c.updated_at, "time"),
    "start_time": Field(preheat_tasks.c.started_at, "time"),
    "end_time": Field(preheat_tasks.c.ended_at, "time"),
}


def list_instances(connection: Connection, page: Page) -> tuple[int, list[InstanceRow]]:
    """Instances by name."""
    total, rows = page.fetch(connection, instances_query(), _INSTANCES, preheat_instances.c.name)
    return total, [InstanceRow(*row) for row in rows]


def all_instances(connection: Connection) -> list[InstanceRow]:
    """Every instance, by name."""
    query = instances_query().order_by(preheat_instances.c.name)
    return [InstanceRow(*row) for row in connection.execute(query)]


def list_policies(connection: Connection, project_id: int, page: Page) -> tuple[int, list[PreheatPolicy]]:
    """Policies of a project, newest first."""
    query = policies_query().where(preheat_policies.c.project_id == project_id)
    total, rows = page.fetch(connection, query, _POLICIES, preheat_policies.c.id.desc())
    return total, [policy_of(row) for row in rows]


def list_executions(connection: Connection, policy_id: int, page: Page) -> tuple[int, list[PreheatExecution]]:
    """Executions of a policy, newest first."""
    query = _executions(policy_id)
    total, rows = page.fetch(connection, query, _EXECUTIONS, preheat_executions.c.id.desc())
    return total, _counted(connection, rows)


def execution(connection: Connection, policy_id: int, execution_id: int) -> PreheatExecution | None:
    """One execution of a policy."""
    rows = list(connection.execute(_executions(policy_id).where(preheat_executions.c.id == execution_id)))
    return _counted(connection, rows)[0] if rows else None


def list_tasks(connection: Connection, execution_id: int, page: Page) -> tuple[int, list[Any]]:
    """Rows of the tasks of an execution, newest first."""
    query = select(preheat_tasks).where(preheat_tasks.c.execution_id == execution_id)
    return page.fetch(connection, query, _TASKS, preheat_tasks.c.id.desc())


def job_of_task(connection: Connection, execution_id: int, task_id: int) -> tuple[str | None] | None:
    """The job's id (None before it has one) of a task of the execution; None when there is no such task."""
    query = select(preheat_tasks.c.job_id).where(
        preheat_tasks.c.execution_id == execution_id, preheat_tasks.c.id == task_id
    )
    row = connection.execute(query).first()
    return (row[0],) if row else None


def _executions(policy_id: int) -> Select[Any]:
    table = preheat_executions.c
    columns = (
        table.id,
        table.policy_id,
        table.status,
        table.message,
        table.trigger,
        table.started_at,
        table.ended_at,
    )
    return select(*columns).where(table.policy_id == policy_id)


def _counted(connection: Connection, rows: list[Any]) -> list[PreheatExecution]:
    numbers = count_tasks(connection, preheat_tasks, [row.id for row in rows])
    return [PreheatExecution(**row._mapping, counts=numbers.get(row.id, {})) for row in rows]
