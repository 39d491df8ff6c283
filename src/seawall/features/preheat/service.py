"""Instances, policies and executions of preheating; the work itself is in `seawall.features.preheat.work`."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.features.preheat.drivers import PROVIDERS, SCOPES, Instance, authorization, open_driver
from seawall.features.preheat.tables import (
    preheat_executions,
    preheat_instances,
    preheat_policies,
    preheat_tasks,
)
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.infra.jobs.views import jobs, outcome
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel import globs
from seawall.kernel.cron import next_time
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError

PURPOSE = "preheat"
TRIGGERS = ("manual", "scheduled", "event_based")
FILTERS = {"repository": str, "tag": str, "label": str, "signature": bool, "vulnerability": int}
OPEN = ("Pending", "Running")
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance as it may be shown: without its credentials."""

    id: int
    name: str
    description: str
    vendor: str
    endpoint: str
    auth_mode: str
    enabled: bool
    is_default: bool
    insecure: bool
    created_at: float


@dataclass(slots=True)
class InstanceValues:
    """What an instance is made of or changed to; None keeps what it was."""

    name: str | None = None
    description: str | None = None
    vendor: str | None = None
    endpoint: str | None = None
    auth_mode: str | None = None
    auth_info: dict[str, str] | None = None
    enabled: bool | None = None
    is_default: bool | None = None
    insecure: bool | None = None


@dataclass(slots=True)
class PreheatPolicy:
    """What of a project is told to which network, and when."""

    name: str
    provider_id: int
    description: str = ""
    filters: list[dict[str, Any]] = field(default_factory=list)
    trigger: str = "manual"
    cron: str = ""
    enabled: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    project_id: int = 0
    id: int = 0
    provider_name: str = ""
    created_at: float = 0
    updated_at: float = 0

    def check(self) -> None:
        """Raise InvalidError with what is wrong."""
        check_name(self.name)
        if self.trigger not in TRIGGERS:
            raise InvalidError(f"trigger.type must be one of {', '.join(TRIGGERS)}")
        if self.trigger == "scheduled":
            next_time(self.cron, time.time())
        seen = set()
        for item in self.filters:
            kind, value = item.get("type"), item.get("value")
            wanted = FILTERS.get(kind) if isinstance(kind, str) else None
            if wanted is None:
                raise InvalidError(f"a filter's type must be one of {', '.join(FILTERS)}")
            # bool is an int to Python
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise InvalidError(f"the value of filter {kind} must be of type {wanted.__name__}")
            if kind in seen:
                raise InvalidError(f"filter {kind} is given twice")
            if kind in ("repository", "tag"):
                globs.check(str(value))
            seen.add(kind)
        scope, clusters = self.extra.get("scope"), self.extra.get("cluster_ids")
        if scope and scope not in SCOPES:
            raise InvalidError(f"extra_attrs.scope must be one of {', '.join(SCOPES)}")
        if clusters is not None and not (
            isinstance(clusters, list) and all(isinstance(n, int) and n >= 0 for n in clusters)
        ):
            raise InvalidError("extra_attrs.cluster_ids must be a list of numbers")


@dataclass(frozen=True, slots=True)
class PreheatExecution:
    """One run of a policy: Running, Success, Error or Stopped. Times are Unix seconds."""

    id: int
    policy_id: int
    status: str
    message: str
    trigger: str
    started_at: float
    ended_at: float | None
    counts: dict[str, int]


def check_name(name: str) -> None:
    """Raise InvalidError unless instances and policies may have the name."""
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise InvalidError("a name has letters, digits and single . _ - between them")


def parse_json(text: str | None, what: str, kind: type) -> Any:
    """The value that a policy's field holds as JSON text; empty for none. Raises InvalidError."""
    if not text:
        return kind()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidError(f"{what} is not valid JSON") from None
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InvalidError(f"{what} must be a JSON {'list' if kind is list else 'object'}")
    return value


def instances_query() -> Select[Any]:
    """A query of instances; its rows make `InstanceRow(*row)`."""
    columns = preheat_instances.c
    return select(*(columns[name] for name in InstanceRow.__dataclass_fields__))


def policies_query() -> Select[Any]:
    """A query of policies; `policy_of` reads its rows."""
    return select(preheat_policies, preheat_instances.c.name.label("provider_name")).join(
        preheat_instances, preheat_instances.c.id == preheat_policies.c.provider_id
    )


def policy_of(row: Any) -> PreheatPolicy:
    """A row of `policies_query`."""
    return PreheatPolicy(
        name=row.name,
        provider_id=row.provider_id,
        description=row.description,
        filters=row.filters,
        trigger=row.trigger_type,
        cron=row.cron,
        enabled=row.enabled,
        extra=row.extra_attrs,
        project_id=row.project_id,
        id=row.id,
        provider_name=row.provider_name,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class PreheatService:
    """Everything about preheating but doing it."""

    def __init__(self, db: Database, keys: KeyRing, job_service: JobService) -> None:
        self.db = db
        self._keys = keys
        self._jobs = job_service

    # -- instances -----------------------------------------------------------------------------------

    async def instance(self, name: str) -> InstanceRow:
        """One instance. Raises NotFoundError."""
        query = instances_query().where(preheat_instances.c.name == name)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {name} not found")
        return InstanceRow(*row)

    async def reach(self, instance_id: int) -> Instance:
        """How to reach an instance, with its credentials. Raises NotFoundError."""
        query = select(preheat_instances).where(preheat_instances.c.id == instance_id)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {instance_id} not found")
        return self._open(row)

    def _open(self, row: Any) -> Instance:
        info = json.loads(self._keys.decrypt(PURPOSE, row.auth_info)) if row.auth_info else None
        return Instance(row.vendor, row.endpoint, row.auth_mode, info, row.insecure)

    async def ping(self, instance: Instance) -> None:
        """Raise InvalidError or DriverError unless the network is well."""
        driver = open_driver(instance)
        try:
            await driver.health()
        finally:
            await driver.close()

    async def add_instance(self, values: InstanceValues, *, also: Also = nothing) -> int:
        """Store an instance; returns its id. Raises InvalidError or ConflictError."""
        made = InstanceValues(
            name=values.name or "",
            description=values.description or "",
            vendor=values.vendor or "",
            endpoint=values.endpoint or "",
            auth_mode=values.auth_mode or "NONE",
            auth_info=values.auth_info,
            enabled=True if values.enabled is None else values.enabled,
            is_default=bool(values.is_default),
            insecure=bool(values.insecure),
        )
        row = {**self._checked(made), "created_at": time.time()}

        def insert_instance(connection: Connection) -> int:
            if row["is_default"]:
                connection.execute(update(preheat_instances).values(is_default=False))
            made = connection.execute(insert(preheat_instances).values(row)).inserted_primary_key
            assert made is not None
            return int(made[0])

        return int(
            await self._unique(insert_instance, "an instance has that name or endpoint already", also=also)
        )

    async def change_instance(self, name: str, values: InstanceValues, *, also: Also = nothing) -> None:
        """Change what is given. Raises NotFoundError, InvalidError or ConflictError."""
        query = select(preheat_instances).where(preheat_instances.c.name == name)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {name} not found")
        mode = values.auth_mode or row.auth_mode
        kept = self._open(row).auth_info
        info = values.auth_info or (dict(kept) if kept and mode == row.auth_mode else None)
        merged = InstanceValues(
            name=values.name or row.name,
            description=row.description if values.description is None else values.description,
            vendor=values.vendor or row.vendor,
            endpoint=values.endpoint or row.endpoint,
            auth_mode=mode,
            auth_info=info,
            enabled=row.enabled if values.enabled is None else values.enabled,
            is_default=row.is_default if values.is_default is None else values.is_default,
            insecure=row.insecure if values.insecure is None else values.insecure,
        )
        changed = self._checked(merged)

        def update_instance(connection: Connection) -> None:
            if changed["is_default"]:
                connection.execute(update(preheat_instances).values(is_default=False))
            connection.execute(
                update(preheat_instances).where(preheat_instances.c.id == row.id).values(changed)
            )

        await self._unique(update_instance, "an instance has that name or endpoint already", also=also)

    def _checked(self, values: InstanceValues) -> dict[str, Any]:
        check_name(values.name or "")
        if values.vendor not in PROVIDERS:
            raise InvalidError(f"vendor must be one of {', '.join(PROVIDERS)}")
        endpoint = (values.endpoint or "").rstrip("/")
        try:
            parts = urlsplit(endpoint)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or len(endpoint) > 1024 or any(ord(character) < 33 for character in endpoint):
            raise InvalidError("endpoint must be a URL that starts with http:// or https://")
        info = values.auth_info or {}
        authorization(values.auth_mode or "NONE", info)
        sealed = None
        if info and values.auth_mode != "NONE":
            sealed = self._keys.encrypt(PURPOSE, json.dumps(info).encode())
        return {
            "name": values.name,
            "description": values.description,
            "vendor": values.vendor,
            "endpoint": endpoint,
            "auth_mode": values.auth_mode,
            "auth_info": sealed,
            "enabled": values.enabled,
            "is_default": values.is_default,
            "insecure": values.insecure,
        }

    async def remove_instance(self, name: str, *, also: Also = nothing) -> None:
        """Delete an instance. Raises NotFoundError, and PreconditionError while policies use it."""
        found = await self.instance(name)

        def delete_instance(connection: Connection) -> None:
            query = select(preheat_policies.c.name).where(preheat_policies.c.provider_id == found.id)
            used = connection.execute(query.limit(1)).scalar()
            if used is not None:
                raise PreconditionError(f"the instance is used by policy {used}")
            connection.execute(delete(preheat_instances).where(preheat_instances.c.id == found.id))

        await self.db.write(delete_instance, also=also)

    async def _unique(self, run: Any, message: str, *, also: Also = nothing) -> Any:
        try:
            return await self.db.write(run, also=also)
        except IntegrityError:
            raise ConflictError(message) from None

    # -- policies ------------------------------------------------------------------------------------

    async def policy(self, project_id: int, name: str) -> PreheatPolicy:
        """One policy of a project. Raises NotFoundError."""
        query = policies_query().where(
            preheat_policies.c.project_id == project_id, preheat_policies.c.name == name
        )
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat policy {name} not found")
        return policy_of(row)

    async def policy_by_id(self, policy_id: int) -> PreheatPolicy:
        """One policy. Raises NotFoundError."""
        query = policies_query().where(preheat_policies.c.id == policy_id)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat policy {policy_id} not found")
        return policy_of(row)

    async def event_policies(self, project_id: int) -> list[PreheatPolicy]:
        """The project's policies that pushes and scans set off."""
        query = policies_query().where(
            preheat_policies.c.project_id == project_id,
            preheat_policies.c.trigger_type == "event_based",
            preheat_policies.c.enabled.is_(True),
        )
        return await self.db.read(lambda c: [policy_of(row) for row in c.execute(query)])

    async def save_policy(self, policy: PreheatPolicy, *, also: Also = nothing) -> int:
        """Store a new policy (id 0) or a changed one; returns its id.

        Raises InvalidError, NotFoundError or ConflictError.
        """
        policy.check()
        now = time.time()
        row = {
            "provider_id": policy.provider_id,
            "name": policy.name,
            "description": policy.description,
            "filters": policy.filters,
            "trigger_type": policy.trigger,
            "cron": policy.cron if policy.trigger == "scheduled" else "",
            "enabled": policy.enabled,
            "extra_attrs": policy.extra,
            "updated_at": now,
        }

        def store_policy(connection: Connection) -> int:
            provider = select(preheat_instances.c.id).where(preheat_instances.c.id == policy.provider_id)
            if connection.execute(provider).first() is None:
                raise NotFoundError(f"preheat instance {policy.provider_id} not found")
            if policy.id:
                own = preheat_policies.c.id == policy.id
                connection.execute(update(preheat_policies).where(own).values(row))
                identifier = policy.id
            else:
                values = {**row, "project_id": policy.project_id, "created_at": now}
                made = connection.execute(insert(preheat_policies).values(values)).inserted_primary_key
                assert made is not None
                identifier = int(made[0])
            cron = policy.cron if policy.trigger == "scheduled" and policy.enabled else None
            arguments = {"policy": identifier}
            self._jobs.set_schedule_in(connection, f"preheat:{identifier}", cron, "preheat", arguments)
            return identifier

        return int(
            await self._unique(
                store_policy, f"the project has a preheat policy {policy.name} already", also=also
            )
        )

    async def remove_policy(self, policy: PreheatPolicy, *, also: Also = nothing) -> None:
        """Delete a policy with its executions. Raises PreconditionError while one runs."""
        await self.settle_all(policy.id)

        def delete_policy(connection: Connection) -> None:
            executions = preheat_executions.c
            busy = select(executions.id).where(
                executions.policy_id == policy.id, executions.status == "Running"
            )
            running = connection.execute(busy).scalar()
            if running is not None:
                raise PreconditionError(f"execution {running} of the policy is running; stop it first")
            connection.execute(delete(preheat_policies).where(preheat_policies.c.id == policy.id))
            self._jobs.set_schedule_in(connection, f"preheat:{policy.id}", None, "preheat", {})

        await self.db.write(delete_policy, also=also)

    # -- executions ----------------------------------------------------------------------------------

    async def start(
        self,
        policy: PreheatPolicy,
        trigger: str,
        candidates: list[dict[str, str]] | None = None,
        *,
        also: Also = nothing,
    ) -> int:
        """Begin an execution: of `candidates`, or of all that the policy's filters select; returns its id.

        Raises PreconditionError when policy or instance is switched off, DriverError when it is not well.
        """
        if not policy.enabled:
            raise PreconditionError(f"preheat policy {policy.name} is not enabled")
        query = select(preheat_instances).where(preheat_instances.c.id == policy.provider_id)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None or not row.enabled:
            raise PreconditionError(f"preheat instance {policy.provider_name} is not enabled")
        await self.ping(self._open(row))

        def insert_execution(connection: Connection) -> int:
            made = connection.execute(
                insert(preheat_executions).values(
                    policy_id=policy.id,
                    status="Running",
                    message="",
                    trigger=trigger,
                    planned=False,
                    started_at=time.time(),
                )
            ).inserted_primary_key
            assert made is not None
            execution = int(made[0])
            arguments: dict[str, Any] = {"execution": execution}
            if candidates is not None:
                arguments["candidates"] = candidates
            kind = "event" if trigger == "event_based" else "manual"
            job_id = self._jobs.enqueue_in(connection, "preheat", arguments, trigger=kind)
            own = preheat_executions.c.id == execution
            connection.execute(update(preheat_executions).where(own).values(job_id=job_id))
            return execution

        execution = await self.db.write(insert_execution, also=also)
        self._jobs.nudge()
        return execution

    async def stop(self, execution_id: int, *, also: Also = nothing) -> None:
        """Stop an execution with its tasks."""
        query = select(preheat_executions.c.job_id).where(preheat_executions.c.id == execution_id)
        mine = select(preheat_tasks.c.job_id).where(
            preheat_tasks.c.execution_id == execution_id, preheat_tasks.c.status.in_(OPEN)
        )
        found = await self.db.read(
            lambda c: [*c.execute(query).scalars(), *c.execute(mine).scalars()],
        )
        for job_id in found:
            if job_id:
                await self._jobs.stop(job_id, also=also)
        await self.settle(execution_id)

    async def log(self, job_id: str) -> str:
        """The log of a task's job."""
        return await self._jobs.log(job_id)

    async def settle_all(self, policy_id: int) -> None:
        """`settle` every execution of a policy that is under way."""
        table = preheat_executions.c
        query = select(table.id).where(table.policy_id == policy_id, table.status == "Running")
        for execution_id in await self.db.read(lambda c: list(c.execute(query).scalars())):
            await self.settle(execution_id)

    async def settle(self, execution_id: int) -> None:
        """Bring an execution up to date with its jobs, which may have ended without a word."""
        table = preheat_executions.c
        query = select(table.status).where(table.id == execution_id)
        if await self.db.read(lambda c: c.execute(query).scalar()) == "Running":
            await self.db.write(lambda c: settle_in(c, execution_id))


def settle_in(connection: Connection, execution_id: int) -> None:
    """The work of `PreheatService.settle`, in the caller's transaction."""
    table, task = preheat_executions.c, preheat_tasks.c
    row = connection.execute(
        select(table.status, table.planned, table.job_id).where(table.id == execution_id).with_for_update()
    ).first()
    if row is None or row.status != "Running":
        return
    now = time.time()
    over = ("success", "error", "stopped")
    ended = connection.execute(
        select(task.id, jobs.c.status)
        .join(jobs, jobs.c.id == task.job_id)
        .where(task.execution_id == execution_id, task.status.in_(OPEN), jobs.c.status.in_(over))
    ).all()
    for task_id, status in ended:
        shown = {"success": "Success", "stopped": "Stopped"}.get(status, "Error")
        values = {"status": shown, "ended_at": now, "updated_at": now}
        connection.execute(update(preheat_tasks).where(task.id == task_id).values(values))
    message = ""
    if not row.planned:
        planner = outcome(connection, row.job_id)
        if planner is not None and planner[0] not in over:
            return
        status = "Stopped" if planner is not None and planner[0] == "stopped" else "Error"
        message = (planner[1] or "") if planner is not None else "its job is gone"
    else:
        found = counts(connection, [execution_id]).get(execution_id, {})
        if any(found.get(name) for name in OPEN):
            return
        status = next((name for name in ("Error", "Stopped") if found.get(name)), "Success")
        message = "" if found else "no artifacts to preheat"
    connection.execute(
        update(preheat_executions)
        .where(table.id == execution_id)
        .values(status=status, message=message, ended_at=now)
    )


def counts(connection: Connection, execution_ids: list[int]) -> dict[int, dict[str, int]]:
    """How many tasks of each status the executions have."""
    task = preheat_tasks.c
    result: dict[int, dict[str, int]] = {}
    query = (
        select(task.execution_id, task.status, func.count())
        .where(task.execution_id.in_(execution_ids))
        .group_by(task.execution_id, task.status)
    )
    for execution_id, status, number in connection.execute(query):
        result.setdefault(execution_id, {})[status] = number
    return result
