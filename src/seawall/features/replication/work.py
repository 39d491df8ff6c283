"""The jobs of replication, and how content's changes start them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from seawall.features.replication.adapters import Adapter
from seawall.features.replication.copy import Copier, describe
from seawall.features.replication.endpoint import Endpoint, LocalEndpoint
from seawall.features.replication.limiter import KILOBIT, Limiter
from seawall.features.replication.origin import REFUSED, came_from, cluster_id, format_header, registry_mark
from seawall.features.replication.policies import ReplicationPolicy
from seawall.features.replication.remote import RemoteError
from seawall.features.replication.service import ReplicationService, policy_of, settle_in
from seawall.features.replication.tables import (
    replication_executions,
    replication_policies,
    replication_tasks,
)
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext, JobStoppedError
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Handler, Subscribers
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.material import TOKEN
from seawall.kernel.context import SYSTEM, Actor, actor
from seawall.kernel.errors import PreconditionError, RegistryError, SeawallError
from seawall.kernel.names import is_tag
from seawall.registry.hooks import ContentHook, Deletion, Push
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import all_repositories, label_names
from seawall.registry.tags import pushed_later, set_pushed_at, tags_of_repository

PUSHED = "REPLICATION_PUSH"
DELETED = "REPLICATION_DELETE"
TASK_RETRIES = 3
CHECK_SCHEDULE = "system:registry-health"


class CopyFailedError(SeawallError):
    """Some artifacts of a task could not be copied; its log says which and why."""


class ReplicationJobs:
    """The work of replication's jobs: `replication` plans, `replication-task` copies or deletes."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        replication: ReplicationService,
        own_id: Callable[[], str],
    ) -> None:
        """`own_id`: how this cluster calls itself in paths, see `own_id` of this module."""
        self._db = db
        self._content = content
        self._jobs = jobs
        self._replication = replication
        self._own_id = own_id

    async def plan(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Find what a policy's filters select and make a task for each repository."""
        service = self._replication
        execution_id = args.get("execution")
        if execution_id is None:
            try:
                started = await service.start(int(args["policy"]), "scheduled")
            except PreconditionError as error:
                await context.log(str(error))
                return {"execution": None}
            return {"execution": started}
        execution = await service.execution(int(execution_id))
        if execution.status != "InProgress":
            return {"execution": execution_id}
        policy = await service.policy(execution.policy_id)
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
                adapter = await self._replication.adapter(policy.src_registry_id)
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
        execution = replication_executions.c
        row = connection.execute(
            select(execution.planned, execution.status).where(execution.id == execution_id).with_for_update()
        ).first()
        if row is None or row[0] or row[1] != "InProgress":
            return 0
        for item in resources:
            references = item["references"]
            target = policy.destination(item["repository"])
            count = f"[{len(references)} item(s) in total]"
            made = connection.execute(
                insert(replication_tasks).values(
                    execution_id=execution_id,
                    status="Pending",
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
            ).inserted_primary_key
            assert made is not None
            job_id = self._jobs.enqueue_in(connection, "replication-task", {"task": int(made[0])})
            connection.execute(
                update(replication_tasks).where(replication_tasks.c.id == made[0]).values(job_id=job_id)
            )
        connection.execute(
            update(replication_executions).where(execution.id == execution_id).values(planned=True)
        )
        settle_in(connection, execution_id)
        return len(resources)

    async def run_task(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Copy (or delete) the artifacts of one repository."""
        task_id = int(args["task"])
        service = self._replication

        def read(connection: Connection) -> Any:
            table = replication_tasks.c
            return connection.execute(
                select(
                    table.execution_id,
                    table.operation,
                    table.work,
                    table.state,
                    replication_executions.c.policy_id,
                )
                .join(replication_executions, replication_executions.c.id == table.execution_id)
                .where(table.id == task_id)
            ).first()

        row = await self._db.read(read)
        if row is None:
            return {}
        execution_id, operation, work, state, policy_id = row
        await self._mark(context, task_id, execution_id, "InProgress")
        try:
            policy = await service.policy(policy_id)
            if operation == "deletion":
                result = await self._delete(context, policy, work)
            else:
                if policy.src_registry_id is not None:
                    # What this pulls starts no push back to where it came from.
                    actor.set(replace(SYSTEM, passed=(registry_mark(policy.src_registry_id),)))
                result = await self._copy(context, policy, work, task_id, dict(state))
        except JobStoppedError:
            await self._mark(context, task_id, execution_id, "Stopped")
            raise
        except Exception:
            last = context.attempt > TASK_RETRIES
            await self._mark(context, task_id, execution_id, "Failed" if last else "Pending")
            raise
        await self._mark(context, task_id, execution_id, "Succeed")
        return result

    async def _mark(self, context: JobContext, task_id: int, execution_id: int, status: str) -> None:
        values: dict[str, Any] = {"status": status}
        if status == "InProgress":
            values["started_at"] = time.time()
        elif status != "Pending":
            values["ended_at"] = time.time()

        def update_task(connection: Connection) -> None:
            connection.execute(
                update(replication_tasks).where(replication_tasks.c.id == task_id).values(**values)
            )
            if "ended_at" in values:
                settle_in(connection, execution_id)

        await self._db.write(update_task)

    async def _copy(
        self,
        context: JobContext,
        policy: ReplicationPolicy,
        work: dict[str, Any],
        task_id: int,
        sessions: dict[str, str],
    ) -> dict[str, Any]:
        limiter = Limiter(policy.speed * KILOBIT, context.checkpoint)
        other = policy.src_registry_id if policy.dest_registry_id is None else policy.dest_registry_id
        assert other is not None
        adapter = await self._replication.adapter(other, limiter)
        local = LocalEndpoint(self._db, self._content)
        pushing = policy.dest_registry_id is not None
        source: Endpoint = local if pushing else adapter.endpoint
        destination: Endpoint = adapter.endpoint if pushing else local

        async def save(value: dict[str, str]) -> None:
            statement = update(replication_tasks).where(replication_tasks.c.id == task_id)
            kept = dict(value)
            await self._db.write(lambda c: c.execute(statement.values(state=kept)), durable=False)

        async def replicated(digest: str) -> str | None:
            # What this policy has copied from another repository may be there already under its name.
            for name in await local.holders(digest):
                if name != work["repository"] and policy.wants_repository(name):
                    return policy.destination(name)
            return None

        try:
            if pushing:
                await adapter.prepare(work["target"])
            copier = Copier(
                source,
                destination,
                work["repository"],
                work["target"],
                override=policy.override,
                by_chunk=policy.copy_by_chunk,
                images_only=policy.filter_value("resource") == "image",
                origin=(lambda at: format_header(work.get("path", []), self._own_id(), at))
                if pushing
                else None,
                later_stays=pushing and bool(work.get("event")),
                log=context.log,
                checkpoint=context.checkpoint,
                sessions=sessions,
                save=save,
                holder=replicated if pushing else local.holder,
            )
            started = time.monotonic()
            failed = await copier.run(list(work["references"]))
            await context.log(f"{describe(copier.report)} in {time.monotonic() - started:.1f} s")
        finally:
            await adapter.close()
        if failed:
            reference, reason = next(iter(failed.items()))
            raise CopyFailedError(
                f"{len(failed)} of {len(work['references'])} failed, {reference} with: {reason}"
            )
        return copier.report.as_dict()

    async def _delete(
        self, context: JobContext, policy: ReplicationPolicy, work: dict[str, Any]
    ) -> dict[str, Any]:
        assert policy.dest_registry_id is not None
        adapter = await self._replication.adapter(policy.dest_registry_id)
        deleted = 0
        origin = format_header(work.get("path", []), self._own_id(), None)
        try:
            for reference in work["references"]:
                await context.checkpoint()
                try:
                    done = await adapter.delete(work["target"], reference, origin)
                except RemoteError as error:
                    if error.status == REFUSED:
                        await context.log(f"{work['target']}:{reference} stays: {error}")
                        continue
                    if is_tag(reference) and error.status in (400, 405):
                        await context.log(
                            f"{work['target']}:{reference}: the registry cannot delete a tag alone; it stays",
                            "WARNING",
                        )
                        continue
                    raise
                deleted += done
                await context.log(f"{work['target']}:{reference} {'deleted' if done else 'was not there'}")
        finally:
            await adapter.close()
        return {"deleted": deleted}

    async def check_registries(self, context: JobContext, _args: dict[str, Any]) -> dict[str, str]:
        """Ping every registry endpoint and store whether it is healthy."""
        return await self._replication.check_all()


async def _remote(adapter: Adapter, policy: ReplicationPolicy) -> AsyncIterator[tuple[str, list[str]]]:
    async for name in adapter.repositories(policy.filter_value("name")):
        if not policy.wants_repository(name):
            continue
        found = [tag for tag in await adapter.endpoint.tags(name) if policy.wants_tag(tag)]
        if policy.looks_at_labels:
            found = [tag for tag in found if policy.wants_labels(await adapter.labels(name, tag))]
        yield name, found


# -- events --------------------------------------------------------------------------------------------


class ReplicationHook(ContentHook):
    """Records pushes and deletions for event-based policies, in their own transactions."""

    def __init__(self, events: Subscribers, nudge: Callable[[], None], own: Callable[[], str]) -> None:
        self._events = events
        self._nudge = nudge
        self._own = own

    def before_push(self, connection: Connection, push: Push) -> None:
        """Refuse what came from here, and what is older than a push that goes the other way."""
        self._not_ours(push.actor)
        if push.actor.pushed_at is None or not push.tags:
            return
        names = [item.name for item in _listening(connection, push.repository.name)]
        if not names:
            # Nothing goes the other way: the sender's word is the last.
            return
        later = pushed_later(connection, push.repository.id, push.tags, push.actor.pushed_at, push.digest)
        if later is not None:
            raise RegistryError("DENIED", f"tag {later} was pushed here later", status=REFUSED)

    def before_delete(self, connection: Connection, deletion: Deletion) -> None:
        """Refuse what came from here."""
        self._not_ours(deletion.actor)

    def _not_ours(self, who: Actor) -> None:
        if who.passed and came_from(who, self._own()):
            raise RegistryError("DENIED", "the change came from here", status=REFUSED)

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        if push.actor.pushed_at is not None and push.tags:
            # A tag keeps the time of its first push on its way.
            set_pushed_at(connection, push.repository.id, push.tags, push.actor.pushed_at)
        # Children of an index go with it; signatures and the like have a subject to go to.
        if (push.tags or push.manifest.subject) and _listened_to(connection):
            references = list(push.tags) or [push.digest]
            data = {
                "repository": push.repository.name,
                "references": references,
                "path": list(push.actor.passed),
            }
            self._events.record(connection, PUSHED, data)

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.after_delete."""
        if _listened_to(connection):
            data = {
                "repository": deletion.repository.name,
                "references": [deletion.tag or deletion.digest],
                "tags": [deletion.tag] if deletion.tag else list(deletion.tags),
                "path": list(deletion.actor.passed),
            }
            self._events.record(connection, DELETED, data)

    def committed(self) -> None:
        """See ContentHook.committed."""
        self._nudge()


def own_id(keys: KeyRing, external_url: str | None) -> str:
    """How this cluster calls itself in paths (`replication.origin`)."""
    return cluster_id(keys.versions(TOKEN)[0].fingerprint, external_url or "")


def _listening(connection: Connection, repository: str) -> list[ReplicationPolicy]:
    query = select(replication_policies).where(
        replication_policies.c.enabled, replication_policies.c.trigger_type == "event_based"
    )
    found = [policy_of(row) for row in connection.execute(query)]
    return [item for item in found if item.wants_repository(repository)]


def _listened_to(connection: Connection) -> bool:
    query = select(replication_policies.c.id).where(
        replication_policies.c.enabled, replication_policies.c.trigger_type == "event_based"
    )
    return connection.execute(query.limit(1)).first() is not None


def handler(service: ReplicationService) -> Handler:
    """The outbox subscriber that starts executions."""

    async def handle(kind: str, data: dict[str, Any]) -> None:
        for policy in await service.policies():
            if not policy.enabled or policy.trigger != "event_based":
                continue
            if not policy.wants_repository(data["repository"]):
                continue
            path = data.get("path", [])
            if policy.dest_registry_id is not None and registry_mark(policy.dest_registry_id) in path:
                continue
            if kind == PUSHED:
                operation = "copy"
                # A reference by digest is a referrer without a tag; tag filters do not speak of it.
                wanted = [item for item in data["references"] if ":" in item or policy.wants_tag(item)]
            elif policy.replicate_deletion:
                operation = "deletion"
                named = [tag for tag in data["tags"] if policy.wants_tag(tag)]
                wanted = data["references"] if named or not data["tags"] else []
            else:
                continue
            if wanted:
                resource = {
                    "operation": operation,
                    "repository": data["repository"],
                    "references": wanted,
                    "path": path,
                    "event": True,
                }
                await service.start(policy.id, "event_based", [resource])

    return handle
