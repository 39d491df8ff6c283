"""Tag retention: which artifacts a project keeps, and the job that deletes the others.

A policy is a list of rules. For each repository, the rules whose repository selectors match it choose what
to keep among the artifacts that their tag selectors match; what any of them keeps is kept ("or"), all other
artifacts of that repository are deleted. A repository that no rule matches is left alone. Source: Harbor's
user documentation, "Create Tag Retention Rules".

Beyond that, as a matter of safety: an artifact with an immutable tag, one that an index names, and one that
was pushed or tagged again since the rules were applied is kept.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from seawall.features.immutability import rules as immutability
from seawall.features.retention.tables import retention_executions, retention_policies, retention_tasks
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.base import JobContext, JobStoppedError
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.kernel import selectors
from seawall.kernel.context import SYSTEM, Actor
from seawall.kernel.cron import next_time
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, RegistryError
from seawall.registry import accounting
from seawall.registry.incoming import incomplete
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import listed_artifacts, parent_ids, repositories_of, times_of
from seawall.registry.model import Repository
from seawall.registry.tags import tag_names, tags_of_repository

RULE_LIMIT = 15
_DAY = 86400.0
# Template -> the largest value of its parameter, None where it has none. The first five are those that
# Harbor's API lists; it takes the last two as well.
TEMPLATES: dict[str, int | None] = {
    "latestPushedK": 32766,
    "latestPulledN": 32766,
    "nDaysSinceLastPush": 20190904,
    "nDaysSinceLastPull": 20190904,
    "always": None,
    "latestActiveK": 32766,
    "lastXDays": 20190904,
}
_LOG_LINES = 5000
_EVENT_ITEMS = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that retention decides about; times in Unix seconds."""

    id: int
    digest: str
    pushed_at: float
    pulled_at: float
    tags: tuple[str, ...]
    kind: str = "IMAGE"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """A project's policy; `cron` empty: only by hand."""

    id: int
    project_id: int
    algorithm: str
    rules: list[dict[str, Any]]
    cron: str


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


_POLICY = (
    retention_policies.c.id,
    retention_policies.c.project_id,
    retention_policies.c.algorithm,
    retention_policies.c.rules,
    retention_policies.c.cron,
)
_EXECUTION = tuple(
    retention_executions.c[name]
    for name in (
        "id", "policy_id", "trigger", "dry_run", "status", "operator", "job_id", "started_at", "ended_at",
    )
)  # fmt: skip


# -- policies ------------------------------------------------------------------------------------------


def checked_rules(raw: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules to store. Raises InvalidError, ConflictError when two are the same."""
    if len(raw) > RULE_LIMIT:
        raise InvalidError(f"a policy has at most {RULE_LIMIT} rules")
    result: list[dict[str, Any]] = []
    for number, item in enumerate(raw, 1):
        rule = {"id": number, **_checked_rule(item)}
        for other in result:
            if {**other, "id": 0} == {**rule, "id": 0}:
                raise ConflictError(f"rule {number} says the same as rule {other['id']}")
        result.append(rule)
    return result


def _checked_rule(raw: dict[str, Any]) -> dict[str, Any]:
    template = raw.get("template") or ""
    if template not in TEMPLATES:
        raise InvalidError(f"retention template must be one of {', '.join(TEMPLATES)}")
    if (raw.get("action") or "retain") != "retain":
        raise InvalidError("retention rules have the action retain")
    limit = TEMPLATES[template]
    params: dict[str, int] = {}
    if limit is not None:
        value = (raw.get("params") or {}).get(template)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise InvalidError(f"rule {template} needs the parameter {template}, a whole number")
        if not 0 <= value <= limit:
            raise InvalidError(f"the parameter of {template} must be from 0 to {limit}")
        params[template] = int(value)
    tag = raw.get("tag_selectors") or []
    scope = (raw.get("scope_selectors") or {}).get("repository") or []
    if not tag or not scope:
        raise InvalidError("a retention rule needs a tag selector and a repository selector")
    if len(tag) > 10 or len(scope) > 10:
        raise InvalidError("a rule has at most 10 selectors of a kind")
    return {
        "priority": int(raw.get("priority") or 0),
        "disabled": bool(raw.get("disabled")),
        "action": "retain",
        "template": template,
        "params": params,
        "tag_selectors": [selectors.checked(item, selectors.TAG_DECORATIONS) for item in tag],
        "scope_selectors": {
            "repository": [selectors.checked(item, selectors.REPOSITORY_DECORATIONS) for item in scope]
        },
    }


def checked_cron(cron: str) -> str:
    """The cron expression, or empty. Raises InvalidError."""
    if cron:
        next_time(cron, time.time())
    return cron


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
    """Add the project's policy; returns its id. Raises InvalidError when it has one."""
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


# -- rules ---------------------------------------------------------------------------------------------


def rules_for(rules: Sequence[dict[str, Any]], repository: str) -> list[dict[str, Any]]:
    """The enabled rules that cover a repository (`project/path`)."""
    short = repository.partition("/")[2]
    return [
        rule
        for rule in rules
        if not rule["disabled"]
        and all(selectors.selects_repository(item, short) for item in rule["scope_selectors"]["repository"])
    ]


def retained(rules: Sequence[dict[str, Any]], candidates: Sequence[Candidate], now: float) -> set[int]:
    """Ids of the candidates that any of the rules keeps."""
    result: set[int] = set()
    for rule in rules:
        chosen = [
            item
            for item in candidates
            if all(selectors.selects_artifact(s, item.tags) for s in rule["tag_selectors"])
        ]
        result |= {item.id for item in _kept(rule, chosen, now)}
    return result


def _kept(rule: dict[str, Any], chosen: list[Candidate], now: float) -> list[Candidate]:
    template = rule["template"]
    if template == "always":
        return chosen
    value = rule["params"][template]
    if template == "latestPushedK":
        return sorted(chosen, key=lambda item: (item.pushed_at, item.id), reverse=True)[:value]
    if template == "latestPulledN":
        return sorted(chosen, key=lambda item: (item.pulled_at, item.id), reverse=True)[:value]
    if template == "latestActiveK":
        return sorted(chosen, key=lambda item: (max(item.pushed_at, item.pulled_at), item.id), reverse=True)[
            :value
        ]
    since = now - value * _DAY
    if template == "nDaysSinceLastPull":
        return [item for item in chosen if item.pulled_at >= since]
    return [item for item in chosen if item.pushed_at >= since]


def candidates(connection: Connection, repository_id: int) -> list[Candidate]:
    """The artifacts of a repository that lists show, with their tags; none while some are still to come."""
    if incomplete(connection, repository_id):
        return []
    names: dict[int, list[str]] = {}
    for name, manifest_id in tags_of_repository(connection, repository_id):
        names.setdefault(manifest_id, []).append(name)
    # Signatures and the like go with their subject, not by rules.
    return [
        Candidate(
            item.id,
            item.digest,
            item.pushed_at,
            item.pulled_at or 0.0,
            tuple(names.get(item.id, ())),
            item.kind or "IMAGE",
        )
        for item in listed_artifacts(connection, repository_id)
    ]


# -- executions ----------------------------------------------------------------------------------------


def start(
    connection: Connection, jobs: JobService, policy_id: int, *, dry_run: bool, trigger: str, operator: str
) -> int:
    """Begin an execution; returns its id. Raises NotFoundError."""
    get(connection, policy_id)
    execution_id = int(
        connection.execute(
            insert(retention_executions)
            .values(
                policy_id=policy_id,
                trigger=trigger,
                dry_run=dry_run,
                status="Running",
                operator=operator,
                started_at=time.time(),
            )
            .returning(retention_executions.c.id)
        ).scalar_one()
    )
    job_id = jobs.enqueue_in(
        connection,
        "retention",
        {"execution": execution_id},
        key=f"retention:{execution_id}",
        trigger="schedule" if trigger == "Schedule" else "manual",
    )
    connection.execute(
        update(retention_executions).where(retention_executions.c.id == execution_id).values(job_id=job_id)
    )
    return execution_id


def execution(connection: Connection, policy_id: int, execution_id: int) -> RetentionExecution:
    """One execution of a policy. Raises NotFoundError."""
    row = connection.execute(
        select(*_EXECUTION).where(
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
    found = await db.read(lambda c: execution(c, policy_id, execution_id))
    if found.status != "Running":
        return
    if found.job_id is not None:
        await jobs.stop(found.job_id, also=also)
        state = await jobs.get(found.job_id)
        if state is not None and state.status == "running":
            return  # the job itself says so once it has stopped
    await db.write(lambda c: _finish(c, execution_id, "Stopped"), also=also)


def _finish(connection: Connection, execution_id: int, status: str) -> None:
    now = time.time()
    connection.execute(
        update(retention_executions)
        .where(retention_executions.c.id == execution_id, retention_executions.c.status == "Running")
        .values(status=status, ended_at=now)
    )
    connection.execute(
        update(retention_tasks)
        .where(retention_tasks.c.execution_id == execution_id, retention_tasks.c.status == "Running")
        .values(status=status, ended_at=now)
    )


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
                select(*_EXECUTION).where(retention_executions.c.id == execution_id)
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
            await self._db.write(lambda c: _finish(c, execution_id, "Stopped"))
            raise
        except Exception:
            if context.attempt > 2:
                await self._db.write(lambda c: _finish(c, execution_id, "Error"))
            raise

        def finish(connection: Connection) -> None:
            _finish(connection, execution_id, "Success")
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
        keep = retained(rules, items, time.time())
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
        accounting.lock(connection, repository.project_id)
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
            with connection.begin_nested():
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
