"""Registries, replication policies and executions; `seawall.features.replication.work` does the work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from seawall.access.projects import using_registry
from seawall.features.replication.adapters import ADAPTERS, Adapter, RemoteRegistry, open_adapter
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.policies import Filter, ReplicationPolicy
from seawall.features.replication.tables import (
    registries,
    replication_executions,
    replication_policies,
    replication_tasks,
)
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.infra.jobs.views import jobs, outcome
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError, SeawallError

PURPOSE = "registry"
OPEN = ("Pending", "InProgress")
_COUNTS = ("Succeed", "Failed", "InProgress", "Stopped")


@dataclass(frozen=True, slots=True)
class RegistryInfo:
    """A registry as it may be shown: no secret."""

    id: int
    name: str
    description: str
    type: str
    url: str
    credential_type: str
    access_key: str | None
    has_secret: bool
    insecure: bool
    ca_certificate: str | None
    status: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class ReplicationExecution:
    """One run of a policy. Times are Unix seconds; counts are of its tasks."""

    id: int
    policy_id: int
    status: str
    status_text: str
    trigger: str
    started_at: float
    ended_at: float | None
    total: int = 0
    succeed: int = 0
    failed: int = 0
    in_progress: int = 0
    stopped: int = 0


@dataclass(frozen=True, slots=True)
class ReplicationTask:
    """A repository's part of an execution."""

    id: int
    execution_id: int
    status: str
    operation: str
    resource_type: str
    src_resource: str
    dst_resource: str
    job_id: str | None
    started_at: float | None
    ended_at: float | None


class ReplicationService:
    """Everything about replication but doing it."""

    def __init__(self, db: Database, keys: KeyRing, job_service: JobService) -> None:
        self.db = db
        self._keys = keys
        self._jobs = job_service

    # -- registries ----------------------------------------------------------------------------------

    async def registries(self) -> list[RegistryInfo]:
        """All registries, by name."""
        query = select(registries).order_by(registries.c.name)
        return await self.db.read(lambda c: [_info(row) for row in c.execute(query)])

    async def registry(self, registry_id: int) -> RegistryInfo:
        """One registry. Raises NotFoundError."""
        row = await self._row(registry_id)
        return _info(row)

    async def _row(self, registry_id: int) -> Any:
        query = select(registries).where(registries.c.id == registry_id)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"registry {registry_id} not found")
        return row

    async def add_registry(
        self,
        *,
        name: str,
        url: str,
        type: str,
        description: str = "",
        credential_type: str = "basic",
        access_key: str = "",
        access_secret: str = "",
        insecure: bool = False,
        ca_certificate: str | None = None,
        also: Also = nothing,
    ) -> int:
        """Store a registry that answers and takes the credentials; returns its id.

        Raises InvalidError, ConflictError, or RemoteError from the registry.
        """
        if not 0 < len(name) <= 255:
            raise InvalidError("a registry's name has 1 to 255 characters")
        url = check_url(url)
        await self.try_registry(
            RemoteRegistry(0, name, type, url, access_key, access_secret, insecure, ca_certificate)
        )
        now = time.time()
        row = {
            "name": name,
            "description": description,
            "type": type,
            "url": url,
            "credential_type": credential_type,
            "access_key": access_key or None,
            "access_secret": self._seal(access_secret),
            "insecure": insecure,
            "ca_certificate": ca_certificate,
            "status": "healthy",
            "checked_at": now,
            "created_at": now,
            "updated_at": now,
        }
        try:
            made = await self.db.write(
                lambda c: c.execute(insert(registries).values(row)).inserted_primary_key, also=also
            )
        except IntegrityError:
            raise ConflictError(f"registry {name} exists") from None
        assert made is not None
        return int(made[0])

    async def change_registry(
        self, registry_id: int, changes: dict[str, Any], *, also: Also = nothing
    ) -> None:
        """Change name, description, url, credential_type, access_key, access_secret, insecure,
        ca_certificate; those not given stay. Raises as `add_registry`.
        """
        row = await self._row(registry_id)
        values = {key: value for key, value in changes.items() if value is not None}
        if "url" in values:
            values["url"] = check_url(values["url"])
        secret = values.pop("access_secret", None)
        current = self._open(row)
        await self.try_registry(
            RemoteRegistry(
                registry_id,
                values.get("name", row.name),
                row.type,
                values.get("url", row.url),
                values.get("access_key", row.access_key or ""),
                current.secret if secret is None else secret,
                values.get("insecure", row.insecure),
                values.get("ca_certificate", row.ca_certificate),
            )
        )
        if secret is not None:
            values["access_secret"] = self._seal(secret)
        now = time.time()
        values.update(updated_at=now, status="healthy", checked_at=now)
        try:
            await self.db.write(
                lambda c: c.execute(update(registries).where(registries.c.id == registry_id).values(values)),
                also=also,
            )
        except IntegrityError:
            raise ConflictError(f"registry {values['name']} exists") from None

    async def remove_registry(self, registry_id: int, *, also: Also = nothing) -> None:
        """Forget a registry. Raises NotFoundError, PreconditionError while something uses it."""

        def delete_registry(connection: Connection) -> None:
            policies = replication_policies.c
            used = connection.execute(
                select(policies.name).where(
                    or_(policies.src_registry_id == registry_id, policies.dest_registry_id == registry_id)
                )
            ).scalar()
            if used is not None:
                raise PreconditionError(f"replication policy {used} uses this registry")
            project = using_registry(connection, registry_id)
            if project is not None:
                raise PreconditionError(f"proxy-cache project {project} uses this registry")
            if not connection.execute(delete(registries).where(registries.c.id == registry_id)).rowcount:
                raise NotFoundError(f"registry {registry_id} not found")

        await self.db.write(delete_registry, also=also)

    async def try_registry(self, registry: RemoteRegistry) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        adapter = open_adapter(registry)
        try:
            await adapter.ping()
        finally:
            await adapter.close()

    async def secret_registry(self, registry_id: int) -> RemoteRegistry:
        """A registry with its secret, for logging in to it. Raises NotFoundError."""
        return self._open(await self._row(registry_id))

    async def adapter(self, registry_id: int, limiter: Limiter | None = None) -> Adapter:
        """An open adapter of a stored registry; close it. Raises NotFoundError."""
        return open_adapter(await self.secret_registry(registry_id), limiter)

    async def check_all(self) -> dict[str, str]:
        """Ping every registry and store the outcome; returns status by name."""
        result = {}
        for item in await self.registries():
            status = "healthy"
            try:
                await self.try_registry(await self.secret_registry(item.id))
            except SeawallError:
                status = "unhealthy"
            result[item.name] = status
            if status != item.status:
                statement = update(registries).where(registries.c.id == item.id)
                values = {"status": status, "checked_at": time.time()}
                await self.db.write(lambda c, s=statement, v=values: c.execute(s.values(v)))  # type: ignore[misc]
        return result

    def _open(self, row: Any) -> RemoteRegistry:
        secret = self._keys.decrypt(PURPOSE, row.access_secret).decode() if row.access_secret else ""
        return RemoteRegistry(
            row.id,
            row.name,
            row.type,
            row.url,
            row.access_key or "",
            secret,
            row.insecure,
            row.ca_certificate,
        )

    def _seal(self, secret: str) -> str | None:
        return self._keys.encrypt(PURPOSE, secret.encode()) if secret else None

    # -- policies ------------------------------------------------------------------------------------

    async def policies(self) -> list[ReplicationPolicy]:
        """All policies, by id."""
        query = select(replication_policies).order_by(replication_policies.c.id)
        return await self.db.read(lambda c: [policy_of(row) for row in c.execute(query)])

    async def policy(self, policy_id: int) -> ReplicationPolicy:
        """One policy. Raises NotFoundError."""
        query = select(replication_policies).where(replication_policies.c.id == policy_id)
        row = await self.db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"replication policy {policy_id} not found")
        return policy_of(row)

    async def add_policy(self, policy: ReplicationPolicy, *, also: Also = nothing) -> int:
        """Store a policy and its schedule; returns its id. Raises InvalidError or ConflictError."""
        policy.check()

        def insert_policy(connection: Connection) -> int:
            _check_registry(connection, policy)
            now = time.time()
            row = {**_policy_row(policy), "created_at": now, "updated_at": now}
            made = connection.execute(insert(replication_policies).values(row)).inserted_primary_key
            assert made is not None
            self._schedule(connection, policy, int(made[0]))
            return int(made[0])

        return await self._unique(insert_policy, policy.name, also=also)

    async def change_policy(self, policy: ReplicationPolicy, *, also: Also = nothing) -> None:
        """Replace a policy. Raises NotFoundError, InvalidError or ConflictError."""
        policy.check()

        def update_policy(connection: Connection) -> int:
            _check_registry(connection, policy)
            changed = connection.execute(
                update(replication_policies)
                .where(replication_policies.c.id == policy.id)
                .values({**_policy_row(policy), "updated_at": time.time()})
            ).rowcount
            if not changed:
                raise NotFoundError(f"replication policy {policy.id} not found")
            self._schedule(connection, policy, policy.id)
            return policy.id

        await self._unique(update_policy, policy.name, also=also)

    async def remove_policy(self, policy_id: int, *, also: Also = nothing) -> None:
        """Forget a policy with its executions. Raises NotFoundError, PreconditionError while one runs."""
        await self.settle_all(policy_id)

        def delete_policy(connection: Connection) -> None:
            executions = replication_executions.c
            busy = connection.execute(
                select(executions.id).where(
                    executions.policy_id == policy_id, executions.status == "InProgress"
                )
            ).first()
            if busy:
                raise PreconditionError("an execution of the policy is under way; stop it first")
            done = connection.execute(
                delete(replication_policies).where(replication_policies.c.id == policy_id)
            ).rowcount
            if not done:
                raise NotFoundError(f"replication policy {policy_id} not found")
            self._jobs.set_schedule_in(connection, _schedule_name(policy_id), None, "replication", {})

        await self.db.write(delete_policy, also=also)

    def _schedule(self, connection: Connection, policy: ReplicationPolicy, policy_id: int) -> None:
        cron = policy.cron if policy.trigger == "scheduled" and policy.enabled else None
        self._jobs.set_schedule_in(
            connection, _schedule_name(policy_id), cron, "replication", {"policy": policy_id}
        )

    async def _unique(self, run: Any, name: str, *, also: Also = nothing) -> int:
        try:
            return int(await self.db.write(run, also=also))
        except IntegrityError:
            raise ConflictError(f"replication policy {name} exists") from None

    # -- executions ----------------------------------------------------------------------------------

    async def start(
        self,
        policy_id: int,
        trigger: str,
        resources: list[dict[str, Any]] | None = None,
        *,
        also: Also = nothing,
    ) -> int:
        """Start an execution and return its id.

        `resources` (of events): `{"operation", "repository", "references"}`; None means all that the
        filters find. Raises NotFoundError, PreconditionError when the policy is disabled or (with
        `single_active`) under way.
        """
        policy = await self.policy(policy_id)
        if not policy.enabled:
            raise PreconditionError("the policy is disabled")
        if policy.single_active:
            await self.settle_all(policy_id)

        def insert_execution(connection: Connection) -> int:
            # The lock makes "none is under way" and "start one" a single step.
            connection.execute(
                select(replication_policies.c.id)
                .where(replication_policies.c.id == policy_id)
                .with_for_update()
            )
            executions = replication_executions.c
            busy = select(executions.id).where(
                executions.policy_id == policy_id, executions.status == "InProgress"
            )
            if policy.single_active and connection.execute(busy).first():
                raise PreconditionError("an execution of the policy is under way already")
            row = {
                "policy_id": policy_id,
                "status": "InProgress",
                "status_text": "",
                "trigger": trigger,
                "planned": False,
                "started_at": time.time(),
            }
            made = connection.execute(insert(replication_executions).values(row)).inserted_primary_key
            assert made is not None
            execution = int(made[0])
            args: dict[str, Any] = {"execution": execution}
            if resources is not None:
                args["resources"] = resources
            job_id = self._jobs.enqueue_in(
                connection, "replication", args, trigger="event" if resources else "manual"
            )
            connection.execute(
                update(replication_executions).where(executions.id == execution).values(job_id=job_id)
            )
            return execution

        execution = await self.db.write(insert_execution, also=also)
        self._jobs.nudge()
        return execution

    async def executions(
        self,
        *,
        policy_id: int | None = None,
        status: str | None = None,
        trigger: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[ReplicationExecution], int]:
        """Executions, newest first, and how many there are in all."""
        await self.settle_all(policy_id)
        table = replication_executions.c
        wanted = [
            column == value
            for column, value in (
                (table.policy_id, policy_id),
                (table.status, status),
                (table.trigger, trigger),
            )
            if value is not None
        ]

        def read_executions(connection: Connection) -> tuple[list[ReplicationExecution], int]:
            rows = connection.execute(
                select(*_EXECUTION).where(*wanted).order_by(table.id.desc()).limit(limit).offset(offset)
            ).all()
            total = connection.execute(
                select(func.count()).select_from(replication_executions).where(*wanted)
            ).scalar_one()
            return _with_counts(connection, rows), int(total)

        return await self.db.read(read_executions)

    async def execution(self, execution_id: int) -> ReplicationExecution:
        """One execution. Raises NotFoundError."""
        await self.settle(execution_id)
        query = select(*_EXECUTION).where(replication_executions.c.id == execution_id)
        found = await self.db.read(lambda c: _with_counts(c, c.execute(query).all()))
        if not found:
            raise NotFoundError(f"replication execution {execution_id} not found")
        return found[0]

    async def tasks(
        self, execution_id: int, *, status: str | None = None, resource_type: str | None = None
    ) -> list[ReplicationTask]:
        """The tasks of an execution, by id."""
        table = replication_tasks.c
        query = select(*_TASK).where(table.execution_id == execution_id).order_by(table.id)
        if status is not None:
            query = query.where(table.status == status)
        if resource_type is not None:
            query = query.where(table.resource_type == resource_type)
        return await self.db.read(lambda c: [ReplicationTask(*row) for row in c.execute(query)])

    async def task_log(self, execution_id: int, task_id: int) -> str:
        """A task's log. Raises NotFoundError."""
        found = [item for item in await self.tasks(execution_id) if item.id == task_id]
        if not found:
            raise NotFoundError(f"task {task_id} of replication execution {execution_id} not found")
        return await self._jobs.log(found[0].job_id or "")

    async def stop(self, execution_id: int, *, also: Also = nothing) -> None:
        """Stop an execution with its tasks. Raises NotFoundError."""
        await self.execution(execution_id)
        table = replication_executions.c
        query = select(table.job_id).where(table.id == execution_id)
        planner = await self.db.read(lambda c: c.execute(query).scalar())
        if planner:
            await self._jobs.stop(planner, also=also)
        for item in await self.tasks(execution_id):
            if item.status in OPEN and item.job_id:
                await self._jobs.stop(item.job_id, also=also)
        await self.settle(execution_id)

    async def settle_all(self, policy_id: int | None = None) -> None:
        """`settle` every execution (of a policy) that is under way."""
        table = replication_executions.c
        query = select(table.id).where(table.status == "InProgress")
        if policy_id is not None:
            query = query.where(table.policy_id == policy_id)
        for execution_id in await self.db.read(lambda c: list(c.execute(query).scalars())):
            await self.settle(execution_id)

    async def settle(self, execution_id: int) -> None:
        """Bring an execution up to date with its jobs, which may have ended without a word."""

        def stale(connection: Connection) -> bool:
            table = replication_executions.c
            row = connection.execute(
                select(table.status, table.planned, table.job_id).where(table.id == execution_id)
            ).first()
            if row is None or row[0] != "InProgress":
                return False
            return bool(_ended_tasks(connection, execution_id)) or _is_over(connection, execution_id, row)

        if await self.db.read(stale):
            await self.db.write(lambda c: settle_in(c, execution_id))


def settle_in(connection: Connection, execution_id: int) -> None:
    """The work of `ReplicationService.settle`, in the caller's transaction."""
    table = replication_executions.c
    row = connection.execute(
        select(table.status, table.planned, table.job_id).where(table.id == execution_id).with_for_update()
    ).first()
    if row is None or row[0] != "InProgress":
        return
    now = time.time()
    for task_id, job_status in _ended_tasks(connection, execution_id):
        status = {"success": "Succeed", "stopped": "Stopped"}.get(job_status, "Failed")
        connection.execute(
            update(replication_tasks)
            .where(replication_tasks.c.id == task_id)
            .values(status=status, ended_at=now)
        )
    if not _is_over(connection, execution_id, row):
        return
    counts: dict[str, int] = dict(
        connection.execute(
            select(replication_tasks.c.status, func.count())
            .where(replication_tasks.c.execution_id == execution_id)
            .group_by(replication_tasks.c.status)
        ).all()
    )
    text = ""
    if not row[1]:
        job = outcome(connection, row[2])
        status = "Stopped" if job is not None and job[0] == "stopped" else "Failed"
        text = (job[1] or "") if job is not None else "its job is gone"
    elif counts.get("Failed"):
        status = "Failed"
    elif counts.get("Stopped"):
        status = "Stopped"
    else:
        status = "Succeed"
    connection.execute(
        update(replication_executions)
        .where(table.id == execution_id)
        .values(status=status, status_text=text, ended_at=now)
    )


def _ended_tasks(connection: Connection, execution_id: int) -> list[tuple[int, str]]:
    """Tasks that look open although their job is over, as (id, the job's status)."""
    rows = connection.execute(
        select(replication_tasks.c.id, jobs.c.status)
        .join(jobs, jobs.c.id == replication_tasks.c.job_id)
        .where(
            replication_tasks.c.execution_id == execution_id,
            replication_tasks.c.status.in_(OPEN),
            jobs.c.status.in_(("success", "error", "stopped")),
        )
    )
    return [(row[0], row[1]) for row in rows]


def _is_over(connection: Connection, execution_id: int, row: Any) -> bool:
    if not row[1]:
        job = outcome(connection, row[2])
        return row[2] is not None and (job is None or job[0] in ("error", "stopped", "success"))
    left = connection.execute(
        select(replication_tasks.c.id).where(
            replication_tasks.c.execution_id == execution_id, replication_tasks.c.status.in_(OPEN)
        )
    ).first()
    return left is None


_EXECUTION = [
    replication_executions.c[key]
    for key in ("id", "policy_id", "status", "status_text", "trigger", "started_at", "ended_at")
]
_TASK = [
    replication_tasks.c[key]
    for key in (
        "id",
        "execution_id",
        "status",
        "operation",
        "resource_type",
        "src_resource",
        "dst_resource",
        "job_id",
        "started_at",
        "ended_at",
    )
]


def _with_counts(connection: Connection, rows: Sequence[Any]) -> list[ReplicationExecution]:
    table = replication_tasks.c
    counts: dict[int, dict[str, int]] = {row[0]: {} for row in rows}
    for execution, status, count in connection.execute(
        select(table.execution_id, table.status, func.count())
        .where(table.execution_id.in_(list(counts)))
        .group_by(table.execution_id, table.status)
    ):
        name = "InProgress" if status == "Pending" else status
        counts[execution][name] = counts[execution].get(name, 0) + count
    result = []
    for row in rows:
        mine = counts[row[0]]
        values: Any = [*row, sum(mine.values()), *(mine.get(name, 0) for name in _COUNTS)]
        result.append(ReplicationExecution(*values))
    return result


def _info(row: Any) -> RegistryInfo:
    return RegistryInfo(
        row.id,
        row.name,
        row.description,
        row.type,
        row.url,
        row.credential_type,
        row.access_key,
        row.access_secret is not None,
        row.insecure,
        row.ca_certificate,
        row.status,
        row.created_at,
        row.updated_at,
    )


def policy_of(row: Any) -> ReplicationPolicy:
    """A policy from its row."""
    return ReplicationPolicy(
        name=row.name,
        description=row.description,
        src_registry_id=row.src_registry_id,
        dest_registry_id=row.dest_registry_id,
        dest_namespace=row.dest_namespace,
        replace_count=row.dest_namespace_replace_count,
        trigger=row.trigger_type,
        cron=row.cron,
        filters=[Filter(**item) for item in row.filters],
        replicate_deletion=row.replicate_deletion,
        override=row.override,
        enabled=row.enabled,
        speed=row.speed,
        copy_by_chunk=row.copy_by_chunk,
        single_active=row.single_active,
        id=row.id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _policy_row(policy: ReplicationPolicy) -> dict[str, Any]:
    row = {
        key: value
        for key, value in asdict(policy).items()
        if key not in ("id", "created_at", "updated_at", "replace_count", "trigger")
    }
    row["dest_namespace_replace_count"] = policy.replace_count
    row["trigger_type"] = policy.trigger
    return row


def _schedule_name(policy_id: int) -> str:
    return f"replication:{policy_id}"


def _check_registry(connection: Connection, policy: ReplicationPolicy) -> None:
    other = policy.src_registry_id if policy.dest_registry_id is None else policy.dest_registry_id
    if connection.execute(select(registries.c.id).where(registries.c.id == other)).first() is None:
        raise InvalidError(f"registry {other} not found")


def check_url(url: str) -> str:
    """The address of a registry, in one form. Raises InvalidError."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.username is not None or parts.query or parts.fragment or len(url) > 1000:
        raise InvalidError(f"{url[:200]!r} is not the address of a registry")
    return parts.geturl().rstrip("/")


def check_type(kind: str) -> None:
    """Raise InvalidError for an unknown kind of registry."""
    if kind not in ADAPTERS:
        raise InvalidError(f"no adapter for registries of type {kind!r}")


def registry_row(connection: Connection, registry_id: int) -> Any:
    """The registry's row (its secret is sealed), None when there is none."""
    return connection.execute(select(registries).where(registries.c.id == registry_id)).first()
