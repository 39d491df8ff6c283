"""The jobs of retention: one begins executions by the clock, the other applies a policy."""

from __future__ import annotations

import datetime
import time
import uuid
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from seawall.features.immutability import rules as immutability
from seawall.features.retention.executions import COLUMNS, WORDS, RetentionExecution, start, steps
from seawall.features.retention.policies import RetentionPolicy, get
from seawall.features.retention.rules import Candidate, candidates, retained, rules_for
from seawall.features.retention.tables import retention_executions, retention_tasks
from seawall.infra.db import Database
from seawall.infra.db.batch import savepoint
from seawall.infra.jobs.base import JobContext, JobStoppedError
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.kernel.context import SYSTEM, Actor
from seawall.kernel.errors import NotFoundError, RegistryError
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import parent_ids, repositories_of, times_of
from seawall.registry.model import Repository
from seawall.registry.repositories import lock
from seawall.registry.tags import tag_names

_LOG_LINES = 5000
_EVENT_ITEMS = 500


class RetentionJobs:
    """The work of retention's jobs: `retention-schedule` begins an execution, `retention` does it."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        events: Subscribers,
        external_url: str | None,
    ) -> None:
        """`external_url` names the registry in events."""
        self._db = db
        self._content = content
        self._jobs = jobs
        self._steps = steps(jobs)
        self._events = events
        self._external_url = external_url

    async def on_schedule(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Begin the execution of a policy whose time has come; args `policy`."""
        try:
            started = await self._db.write(
                lambda c: start(
                    c,
                    self._jobs,
                    int(args["policy"]),
                    dry_run=False,
                    trigger="Schedule",
                    operator=SYSTEM.name,
                )
            )
        except NotFoundError:
            return {"status": "gone"}
        self._jobs.nudge()
        return {"execution": started}

    async def run(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Apply a policy; args `execution`. Repositories that an earlier attempt finished are left out."""
        execution_id = int(args["execution"])

        def load(
            connection: Connection,
        ) -> tuple[RetentionExecution, RetentionPolicy, list[Repository]] | None:
            row = connection.execute(
                select(*COLUMNS).where(retention_executions.c.id == execution_id)
            ).first()
            if row is None:
                return None
            found = RetentionExecution(*row)
            policy = get(connection, found.policy_id)
            return found, policy, repositories_of(connection, policy.project_id)

        loaded = await self._db.read(load)
        if loaded is None:
            return {"status": "gone"}
        found, policy, listed = loaded
        if found.status != "Running":
            return {"status": found.status}
        who = Actor(found.operator or SYSTEM.name)
        total = kept = 0
        removed: list[dict[str, str]] = []
        try:
            for repository in listed:
                await context.checkpoint()
                rules = rules_for(policy.rules, repository.name)
                if not rules:
                    continue
                counts = await self._apply(context, found, repository, rules, who, removed)
                total += counts[0]
                kept += counts[1]
        except JobStoppedError:
            await self._db.write(lambda c: self._steps.finish(c, execution_id, WORDS.stopped))
            raise
        except Exception:
            if context.attempt > 2:
                await self._db.write(lambda c: self._steps.finish(c, execution_id, WORDS.error))
            raise

        def finish(connection: Connection) -> None:
            self._steps.finish(connection, execution_id, WORDS.success)
            if not found.dry_run and removed:
                self._events.record(
                    connection, "TAG_RETENTION", self._event(policy, found, listed, total, kept, removed)
                )

        await self._db.write(finish)
        return {"total": total, "retained": kept}

    async def _apply(
        self,
        context: JobContext,
        found: RetentionExecution,
        repository: Repository,
        rules: list[dict[str, Any]],
        who: Actor,
        removed: list[dict[str, str]],
    ) -> tuple[int, int]:
        """Apply rules to one repository as a task of the execution; returns (artifacts, kept)."""
        row = await self._db.write(lambda c: _begin_task(c, found.id, repository.name))
        task_id, status, total, kept = row
        if status == "Success":
            return total, kept
        items = await self._db.read(lambda c: candidates(c, repository.id))
        # A host whose clock is ahead would take what is new for old, and delete it.
        keep = retained(rules, items, self._db.now())
        lines = [
            f"{len(items)} artifacts in {repository.name}, rules: {len(rules)}, dry run: {found.dry_run}"
        ]
        kept = 0
        doomed: set[int] = set()
        # Newest row first: an index comes before the children it was pushed after, and frees them.
        for item in sorted(items, key=lambda item: item.id, reverse=True):
            outcome = "RETAIN"
            if item.id not in keep:
                await context.checkpoint()
                outcome = await self._decide(found, repository, item, who, doomed)
            if outcome == "DEL":
                doomed.add(item.id)
                if len(removed) < _EVENT_ITEMS:
                    name = repository.name.partition("/")[2]
                    shown = f"{name}:{item.tags[0]}" if item.tags else f"{name}@{item.digest}"
                    removed.append({"type": item.kind.lower(), "name_tag": shown, "status": "SUCCESS"})
            else:
                kept += 1
            if len(lines) < _LOG_LINES:
                lines.append(
                    f"{item.digest}  tags={','.join(item.tags[:20]) or '-'}  "
                    f"pushed={_shown(item.pushed_at)}  pulled={_shown(item.pulled_at)}  {outcome}"
                )
        if not found.dry_run:
            self._content.writes.committed()
        log = "\n".join(lines) + "\n"
        await context.log(f"{repository.name}: {kept} of {len(items)} artifacts kept")
        await self._db.write(
            lambda c: c.execute(
                update(retention_tasks)
                .where(retention_tasks.c.id == task_id)
                .values(status="Success", total=len(items), retained=kept, log=log, ended_at=time.time())
            )
        )
        return len(items), kept

    async def _decide(
        self,
        found: RetentionExecution,
        repository: Repository,
        item: Candidate,
        who: Actor,
        doomed: set[int],
    ) -> str:
        """Delete an artifact, or in a dry run say whether it would be."""
        if not found.dry_run:
            return await self._db.write(lambda c: self._remove(c, repository, item, who))

        def look(connection: Connection) -> str:
            if set(parent_ids(connection, repository.id, item.digest)) - doomed:
                return "IN USE"
            return "IMMUTABLE" if _protected(connection, repository, item) else "DEL"

        return await self._db.read(look)

    def _remove(self, connection: Connection, repository: Repository, item: Candidate, who: Actor) -> str:
        """Delete one artifact unless something speaks for it; returns what happened."""
        lock(connection, [repository.id])
        row = times_of(connection, repository.id, item.id)
        if row is None:
            return "GONE"
        names = tag_names(connection, item.id)
        if row[0] != item.pushed_at or (row[1] or 0.0) != item.pulled_at or tuple(names) != item.tags:
            return "CHANGED"
        if parent_ids(connection, repository.id, item.digest):
            return "IN USE"
        if _protected(connection, repository, item):
            return "IMMUTABLE"
        try:
            with savepoint(connection):
                self._content.deletions.delete_in(connection, repository, item.digest, who, deep=True)
        except RegistryError as error:
            return f"ERROR {error.message}"
        return "DEL"

    def _event(
        self,
        policy: RetentionPolicy,
        found: RetentionExecution,
        listed: list[Repository],
        total: int,
        kept: int,
        removed: list[dict[str, str]],
    ) -> dict[str, Any]:
        host = (self._external_url or "").partition("://")[2].partition(":")[0]
        return {
            "id": str(uuid.uuid4()),
            "occur_at": time.time(),
            "operator": found.operator,
            "project_id": policy.project_id,
            "event_data": {
                "retention": {
                    "total": total,
                    "retained": kept,
                    "harbor_hostname": host,
                    "project_name": listed[0].name.partition("/")[0] if listed else "",
                    "retention_policy_id": policy.id,
                    "retention_rule": [
                        {
                            "template": rule["template"],
                            "params": rule["params"],
                            "tag_selectors": rule["tag_selectors"],
                            "scope_selectors": rule["scope_selectors"],
                        }
                        for rule in policy.rules
                    ],
                    "result": "SUCCESS",
                    "deleted_artifact": removed,
                }
            },
        }


def _begin_task(connection: Connection, execution_id: int, name: str) -> tuple[int, str, int, int]:
    here = and_(retention_tasks.c.execution_id == execution_id, retention_tasks.c.repository == name)
    query = select(
        retention_tasks.c.id, retention_tasks.c.status, retention_tasks.c.total, retention_tasks.c.retained
    )
    row = connection.execute(query.where(here)).first()
    if row is not None:
        return int(row[0]), str(row[1]), int(row[2]), int(row[3])
    made = connection.execute(
        insert(retention_tasks)
        .values(execution_id=execution_id, repository=name, status="Running", started_at=time.time())
        .returning(retention_tasks.c.id)
    ).scalar_one()
    return int(made), "Running", 0, 0


def _protected(connection: Connection, repository: Repository, item: Candidate) -> bool:
    found = immutability.rules(connection, repository.project_id)
    return any(immutability.immutable(found, repository.name, tag) for tag in item.tags)


def _shown(at: float) -> str:
    if not at:
        return "-"
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
