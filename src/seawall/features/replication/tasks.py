"""The job `replication-task`: copies or deletes the artifacts of one repository."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, update

from seawall.features.replication.copy import Copier, describe
from seawall.features.replication.endpoint import CompletedEndpoint, Endpoint, LocalEndpoint
from seawall.features.replication.executions import WORDS
from seawall.features.replication.limiter import KILOBIT, Limiter
from seawall.features.replication.model import ReplicationPolicy
from seawall.features.replication.origin import format_header, registry_mark
from seawall.features.replication.remote import RemoteError, is_settled
from seawall.features.replication.service import Replication
from seawall.features.replication.tables import replication_executions, replication_tasks
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext, JobFailedError, JobStoppedError
from seawall.infra.jobs.executions import PENDING
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import SeawallError
from seawall.kernel.names import is_tag
from seawall.registry.local import LocalRegistry
from seawall.registry.protocol import Complete

TASK_RETRIES = 3


class CopyFailedError(SeawallError):
    """Some artifacts of a task could not be copied; its log says which and why."""


class TaskRunner:
    """Does the tasks."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        replication: Replication,
        own_id: Callable[[], str],
        complete: Complete,
    ) -> None:
        """`own_id`: how this cluster calls itself in paths, see `seawall.features.replication.events`.

        `complete` brings images of proxied indexes that nobody has pulled.
        """
        self._complete = complete
        self._db = db
        self._content = content
        self._replication = replication
        self._own_id = own_id

    async def run_task(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Copy (or delete) the artifacts of one repository."""
        task_id = int(args["task"])

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
        await self._mark(task_id, execution_id, WORDS.running)
        try:
            policy = await self._replication.policies.get(policy_id)
            if operation == "deletion":
                result = await self._delete(context, policy, work)
            else:
                if policy.src_registry_id is not None:
                    # What this pulls starts no push back to where it came from.
                    actor.set(replace(SYSTEM, passed=(registry_mark(policy.src_registry_id),)))
                result = await self._copy(context, policy, work, task_id, dict(state))
        except JobStoppedError:
            await self._mark(task_id, execution_id, WORDS.stopped)
            raise
        except Exception as error:
            last = context.attempt > TASK_RETRIES or isinstance(error, JobFailedError)
            why = str(error) if isinstance(error, SeawallError) else ""
            await self._mark(task_id, execution_id, WORDS.error if last else PENDING, why)
            raise
        await self._mark(task_id, execution_id, WORDS.success)
        return result

    async def _mark(self, task_id: int, execution_id: int, status: str, why: str = "") -> None:
        values: dict[str, Any] = {"status": status}
        if status == WORDS.running:
            values["started_at"] = time.time()
        elif status != PENDING:
            values["ended_at"] = time.time()

        def update_task(connection: Connection) -> None:
            connection.execute(
                update(replication_tasks).where(replication_tasks.c.id == task_id).values(**values)
            )
            if "ended_at" in values:
                self._replication.executions.steps.settle_in(connection, execution_id, why)

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
        adapter = await self._replication.registries.adapter(other, limiter)
        local = LocalEndpoint(self._db, self._content)
        pushing = policy.dest_registry_id is not None
        cached = CompletedEndpoint(self._db, self._content, self._complete)
        source: Endpoint = cached if pushing else adapter.endpoint
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
            kind = JobFailedError if copier.refused else CopyFailedError
            raise kind(f"{len(failed)} of {len(work['references'])} failed, {reference} with: {reason}")
        return copier.report.as_dict()

    async def _delete(
        self, context: JobContext, policy: ReplicationPolicy, work: dict[str, Any]
    ) -> dict[str, Any]:
        assert policy.dest_registry_id is not None
        adapter = await self._replication.registries.adapter(policy.dest_registry_id)
        deleted = 0
        origin = format_header(work.get("path", []), self._own_id(), None)
        try:
            for reference in work["references"]:
                await context.checkpoint()
                try:
                    done = await adapter.delete(work["target"], reference, origin)
                except RemoteError as error:
                    if is_settled(error):
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
