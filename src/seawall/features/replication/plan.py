"""The job `replication`: finds what a policy selects, and makes a task for each repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Connection

from seawall.features.replication.adapter import Adapter
from seawall.features.replication.model import ReplicationPolicy
from seawall.features.replication.service import Replication
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import PreconditionError
from seawall.registry.lookups import all_repositories, label_names
from seawall.registry.tags import tags_of_repository


class Planner:
    """Plans executions."""

    def __init__(self, db: Database, jobs: JobService, replication: Replication) -> None:
        self._db = db
        self._jobs = jobs
        self._replication = replication

    async def plan(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Find what a policy's filters select and make a task for each repository."""
        execution_id = args.get("execution")
        if execution_id is None:
            try:
                started = await self._replication.executions.start(int(args["policy"]), "scheduled")
            except PreconditionError as error:
                await context.log(str(error))
                return {"execution": None}
            return {"execution": started}
        execution = await self._replication.executions.get(int(execution_id))
        if execution.status != "InProgress":
            return {"execution": execution_id}
        policy = await self._replication.policies.get(execution.policy_id)
        resources = args.get("resources")
        if resources is None:
            resources = [item async for item in self._resources(context, policy)]
        made = await self._db.write(lambda c: self._make_tasks(c, int(execution_id), policy, resources))
        self._jobs.nudge()
        await context.log(f"{made} tasks")
        return {"execution": execution_id, "tasks": made}

    async def _resources(
        self, context: JobContext, policy: ReplicationPolicy
    ) -> AsyncIterator[dict[str, Any]]:
        adapter: Adapter | None = None
        try:
            if policy.src_registry_id is None:
                found = self._local_resources(policy)
            else:
                adapter = await self._replication.registries.adapter(policy.src_registry_id)
                found = _remote(adapter, policy)
            async for repository, references in found:
                await context.checkpoint()
                if references:
                    yield {"operation": "copy", "repository": repository, "references": references}
        finally:
            if adapter is not None:
                await adapter.close()

    async def _local_resources(self, policy: ReplicationPolicy) -> AsyncIterator[tuple[str, list[str]]]:
        for repository_id, name in await self._db.read(all_repositories):
            if not policy.wants_repository(name):
                continue

            def read(connection: Connection, repository_id: int = repository_id) -> list[str]:
                rows = tags_of_repository(connection, repository_id)
                wanted = [(tag, manifest) for tag, manifest in rows if policy.wants_tag(tag)]
                if policy.looks_at_labels:
                    wanted = [
                        (tag, manifest)
                        for tag, manifest in wanted
                        if policy.wants_labels(label_names(connection, manifest))
                    ]
                return [tag for tag, _ in wanted]

            yield name, await self._db.read(read)

    def _make_tasks(
        self,
        connection: Connection,
        execution_id: int,
        policy: ReplicationPolicy,
        resources: list[dict[str, Any]],
    ) -> int:
        """Write the tasks and their jobs once, whatever the number of runs of the planning job."""
        if not self._replication.executions.steps.claim(connection, execution_id):
            return 0
        for item in resources:
            references = item["references"]
            target = policy.destination(item["repository"])
            count = f"[{len(references)} item(s) in total]"
            self._replication.executions.steps.add_task(
                connection,
                execution_id,
                "replication-task",
                operation=item["operation"],
                resource_type=policy.filter_value("resource") or "artifact",
                src_resource=f"{item['repository']}:{count}",
                dst_resource=f"{target}:{count}",
                work={
                    "repository": item["repository"],
                    "target": target,
                    "references": references,
                    "path": item.get("path", []),
                    "event": item.get("event", False),
                },
                state={},
            )
        self._replication.executions.steps.settle_in(connection, execution_id)
        return len(resources)


async def _remote(adapter: Adapter, policy: ReplicationPolicy) -> AsyncIterator[tuple[str, list[str]]]:
    async for name in adapter.repositories(policy.filter_value("name")):
        if not policy.wants_repository(name):
            continue
        found = [tag for tag in await adapter.endpoint.tags(name) if policy.wants_tag(tag)]
        if policy.looks_at_labels:
            found = [tag for tag in found if policy.wants_labels(await adapter.labels(name, tag))]
        yield name, found
