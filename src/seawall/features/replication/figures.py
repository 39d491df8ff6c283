"""Figures of replication: what waits, for how long, and what failed."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from seawall.features.replication.tables import (
    registries,
    replication_executions,
    replication_policies,
    replication_tasks,
)
from seawall.infra.db import dialect
from seawall.infra.telemetry import Family

_OPEN = ("Pending", "InProgress")


def figures(connection: Connection) -> list[Family]:
    """By policy: tasks to be done, age of the oldest open execution, whether the last ended one failed."""
    now = dialect.now(connection)
    executions, tasks, policies = replication_executions, replication_tasks, replication_policies
    names = dict(connection.execute(select(policies.c.id, policies.c.name)).all())
    opened = {
        row[0]: row[1]
        for row in connection.execute(
            select(executions.c.policy_id, func.min(executions.c.started_at))
            .where(executions.c.status == "InProgress")
            .group_by(executions.c.policy_id)
        )
    }
    waiting = {
        row[0]: row[1]
        for row in connection.execute(
            select(executions.c.policy_id, func.count())
            .select_from(executions.join(tasks, tasks.c.execution_id == executions.c.id))
            .where(executions.c.status == "InProgress", tasks.c.status.in_(_OPEN))
            .group_by(executions.c.policy_id)
        )
    }
    last = {
        row[0]: row[1]
        for row in connection.execute(
            select(executions.c.policy_id, executions.c.status).where(
                executions.c.id.in_(
                    select(func.max(executions.c.id))
                    .where(executions.c.status != "InProgress")
                    .group_by(executions.c.policy_id)
                )
            )
        )
    }
    unhealthy = connection.execute(
        select(registries.c.name, registries.c.status).order_by(registries.c.name)
    ).all()
    ordered = sorted(names.items(), key=lambda item: item[1])
    return [
        Family(
            "seawall_replication_tasks_open",
            "Replication tasks that have not finished",
            ("policy",),
            tuple(((name,), float(waiting.get(key, 0))) for key, name in ordered),
        ),
        Family(
            "seawall_replication_lag_seconds",
            "Age of the oldest replication execution that has not finished",
            ("policy",),
            tuple(((name,), max(0.0, now - opened.get(key, now))) for key, name in ordered),
        ),
        Family(
            "seawall_replication_last_failed",
            "Whether the last finished execution of a replication policy failed",
            ("policy",),
            tuple(((name,), float(last.get(key) == "Failed")) for key, name in ordered),
        ),
        Family(
            "seawall_registry_endpoint_up",
            "Whether a registry for replication or a proxy cache was healthy at the last check",
            ("registry",),
            tuple(((row.name,), float(row.status == "healthy")) for row in unhealthy),
        ),
    ]
