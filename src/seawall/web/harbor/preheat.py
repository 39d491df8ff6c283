"""Preheating: instances of peer-to-peer networks, policies of projects, executions, tasks, logs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Select, func, select

from seawall.features.preheat import service as domain
from seawall.features.preheat.drivers import PROVIDERS, DriverError, Instance
from seawall.features.preheat.service import Execution, InstanceRow, InstanceValues, Policy
from seawall.features.preheat.tables import (
    preheat_executions,
    preheat_instances,
    preheat_policies,
    preheat_tasks,
)
from seawall.kernel.errors import NotFoundError
from seawall.web.harbor.deps import (
    Access,
    ApiRouter,
    Id,
    ListingDep,
    location,
    named_project_access,
    system_access,
    timestamp,
)
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Preheating
from seawall.web.harbor.query import Custom
from seawall.web.harbor.query import Field as QueryField

router = ApiRouter(tags=["preheat"])
Name = Annotated[str, Path(max_length=255)]
Text = Annotated[str | None, Field(max_length=65536)]


class PreheatProvider(BaseModel):
    """A kind of network."""

    id: str
    name: str
    source: str


class ProviderUnderProject(BaseModel):
    """An instance, as a project's admin sees it."""

    id: int
    provider: str
    enabled: bool
    default: bool


class PreheatInstance(BaseModel):
    """A network. `auth_info` is never shown; left out of an update, it stays."""

    id: int | None = Field(None, ge=0, lt=2**53)
    name: str | None = Field(None, max_length=255)
    description: str | None = Field(None, max_length=4096)
    vendor: str | None = Field(None, max_length=64)
    endpoint: str | None = Field(None, max_length=1024)
    auth_mode: str | None = Field(None, max_length=16)
    auth_info: dict[str, Annotated[str, Field(max_length=8192)]] | None = Field(default=None, max_length=16)
    status: str | None = Field(None, max_length=32)
    enabled: bool | None = None
    default: bool | None = None
    insecure: bool | None = None
    setup_timestamp: int | None = Field(None, ge=0, lt=2**53)


class PreheatPolicy(BaseModel):
    """A policy. `filters`, `trigger` and `extra_attrs` are JSON text, as in Harbor."""

    id: int | None = Field(None, ge=0, lt=2**53)
    name: str | None = Field(None, max_length=255)
    description: str | None = Field(None, max_length=4096)
    project_id: int | None = Field(None, ge=0, lt=2**53)
    provider_id: int | None = Field(None, ge=0, lt=2**53)
    provider_name: str | None = Field(None, max_length=255)
    filters: Text = None
    trigger: Text = None
    enabled: bool | None = None
    extra_attrs: Text = None
    creation_time: str | None = Field(None, max_length=64)
    update_time: str | None = Field(None, max_length=64)


class PreheatMetrics(BaseModel):
    """Numbers of tasks."""

    task_count: int = 0
    success_task_count: int = 0
    error_task_count: int = 0
    pending_task_count: int = 0
    running_task_count: int = 0
    stopped_task_count: int = 0


class PreheatExecution(BaseModel):
    """A run of a policy. In a PATCH, only `status` counts: Stopped."""

    id: int | None = Field(None, ge=0, lt=2**53)
    vendor_type: str | None = Field(None, max_length=64)
    vendor_id: int | None = Field(None, ge=0, lt=2**53)
    status: str | None = Field(None, max_length=16)
    status_message: str | None = Field(None, max_length=65536)
    metrics: PreheatMetrics | None = None
    trigger: str | None = Field(None, max_length=16)
    extra_attrs: dict[str, Any] | None = None
    start_time: str | None = Field(None, max_length=64)
    end_time: str | None = Field(None, max_length=64)


class PreheatTask(BaseModel):
    """The preheating of one tag."""

    id: int
    execution_id: int
    status: str
    status_message: str
    run_count: int
    extra_attrs: dict[str, Any]
    creation_time: str | None
    update_time: str | None
    start_time: str | None
    end_time: str | None


# -- instances -----------------------------------------------------------------------------------------


def _instance(row: InstanceRow) -> PreheatInstance:
    return PreheatInstance(
        id=row.id,
        name=row.name,
        description=row.description,
        vendor=row.vendor,
        endpoint=row.endpoint,
        auth_mode=row.auth_mode,
        status="Unknown",
        enabled=row.enabled,
        default=row.is_default,
        insecure=row.insecure,
        setup_timestamp=int(row.created_at),
    )


def _values(body: PreheatInstance) -> InstanceValues:
    return InstanceValues(
        name=body.name,
        description=body.description,
        vendor=body.vendor,
        endpoint=body.endpoint,
        auth_mode=body.auth_mode,
        auth_info=body.auth_info or None,
        enabled=body.enabled,
        is_default=body.default,
        insecure=body.insecure,
    )


@router.get("/p2p/preheat/providers", name="list_preheat_providers")
async def list_providers(
    access: Annotated[Access, system_access("preheat-instance", "list")],
) -> list[PreheatProvider]:
    """Kinds of networks that instances can be of."""
    return [PreheatProvider(id=item.id, name=item.name, source=item.source) for item in PROVIDERS.values()]


@router.get("/p2p/preheat/instances", name="list_preheat_instances")
async def list_instances(
    access: Annotated[Access, system_access("preheat-instance", "list")], db: Db, page: ListingDep
) -> list[PreheatInstance]:
    """Networks, by name."""
    columns = preheat_instances.c
    fields: dict[str, QueryField | Custom] = {
        "id": QueryField(columns.id, "int"),
        "name": QueryField(columns.name),
        "vendor": QueryField(columns.vendor),
        "endpoint": QueryField(columns.endpoint),
        "enabled": QueryField(columns.enabled, "bool"),
        "default": QueryField(columns.is_default, "bool"),
    }
    return [
        _instance(InstanceRow(*row))
        for row in await _rows(access, db, page, domain.instances_query(), fields, columns.name)
    ]


async def _rows(
    access: Access, db: Db, page: ListingDep, query: Select[Any], fields: Any, *default: Any
) -> list[Any]:
    def run(connection: Connection) -> tuple[int, list[Any]]:
        wanted = page.filter(query, fields)
        total = connection.execute(select(func.count()).select_from(wanted.subquery())).scalar_one()
        return total, list(connection.execute(page.slice(page.order(wanted, fields, *default))))

    total, rows = await db.read(run)
    page.total(total)
    return rows


@router.post("/p2p/preheat/instances", status_code=201, name="create_preheat_instance")
async def create_instance(
    body: PreheatInstance,
    access: Annotated[Access, system_access("preheat-instance", "create")],
    preheating: Preheating,
) -> Response:
    """Add a network."""
    await preheating.add_instance(_values(body))
    access.audited("create", "preheat_instance", body.name or "", f"create preheat instance {body.name}")
    return Response(status_code=201, headers=location(access.request, body.name or ""))


@router.post("/p2p/preheat/instances/ping", name="ping_preheat_instance")
async def ping_instance(
    body: PreheatInstance,
    access: Annotated[Access, system_access("preheat-instance", "read")],
    preheating: Preheating,
) -> Response:
    """Ask a network, stored (by id) or described, whether it is well."""
    service = preheating
    if body.id:
        instance = await service.reach(body.id)
    elif body.endpoint:
        instance = Instance(
            body.vendor or "",
            body.endpoint,
            body.auth_mode or "NONE",
            body.auth_info,
            bool(body.insecure),
        )
    else:
        raise ApiError(400, "give an id or an endpoint")
    try:
        await service.ping(instance)
    except DriverError as error:
        raise ApiError(400, str(error)) from None
    return Response()


@router.get("/p2p/preheat/instances/{preheat_instance_name}", name="get_preheat_instance")
async def get_instance(
    preheat_instance_name: Name,
    access: Annotated[Access, system_access("preheat-instance", "read")],
    preheating: Preheating,
) -> PreheatInstance:
    """One network, with its health now."""
    service = preheating
    found = await service.instance(preheat_instance_name)
    try:
        await service.ping(await service.reach(found.id))
        status = "Healthy"
    except DriverError:
        status = "Unhealthy"
    return _instance(found).model_copy(update={"status": status})


@router.put("/p2p/preheat/instances/{preheat_instance_name}", name="update_preheat_instance")
async def update_instance(
    preheat_instance_name: Name,
    body: PreheatInstance,
    access: Annotated[Access, system_access("preheat-instance", "update")],
    preheating: Preheating,
) -> Response:
    """Change a network."""
    await preheating.change_instance(preheat_instance_name, _values(body))
    name = preheat_instance_name
    access.audited("update", "preheat_instance", name, f"update preheat instance {name}")
    return Response()


@router.delete("/p2p/preheat/instances/{preheat_instance_name}", name="delete_preheat_instance")
async def delete_instance(
    preheat_instance_name: Name,
    access: Annotated[Access, system_access("preheat-instance", "delete")],
    preheating: Preheating,
) -> Response:
    """Remove a network; 412 while policies use it."""
    await preheating.remove_instance(preheat_instance_name)
    name = preheat_instance_name
    access.audited("delete", "preheat_instance", name, f"delete preheat instance {name}")
    return Response()


@router.get("/projects/{project_name}/preheat/providers")
async def list_providers_under_project(
    access: Annotated[Access, named_project_access("preheat-policy", "list")],
    db: Db,
) -> list[ProviderUnderProject]:
    """Networks that policies of the project can name."""
    query = domain.instances_query().order_by(preheat_instances.c.name)
    rows = await db.read(lambda c: [InstanceRow(*row) for row in c.execute(query)])
    return [
        ProviderUnderProject(
            id=row.id,
            provider=f"{PROVIDERS[row.vendor].name} {row.name}-{row.endpoint}",
            enabled=row.enabled,
            default=row.is_default,
        )
        for row in rows
    ]


# -- policies ------------------------------------------------------------------------------------------

_POLICIES = "/projects/{project_name}/preheat/policies"
_POLICY = f"{_POLICIES}/{{preheat_policy_name}}"
_EXECUTION = f"{_POLICY}/executions/{{execution_id}}"


def _policy(item: Policy) -> PreheatPolicy:
    trigger: dict[str, Any] = {"type": item.trigger, "trigger_setting": {}}
    if item.cron:
        trigger["trigger_setting"] = {"cron": item.cron}
    return PreheatPolicy(
        id=item.id,
        name=item.name,
        description=item.description,
        project_id=item.project_id,
        provider_id=item.provider_id,
        provider_name=item.provider_name,
        filters=json.dumps(item.filters),
        trigger=json.dumps(trigger),
        enabled=item.enabled,
        extra_attrs=json.dumps(item.extra) if item.extra else "",
        creation_time=timestamp(item.created_at),
        update_time=timestamp(item.updated_at),
    )


def _wanted(body: PreheatPolicy, was: Policy) -> Policy:
    """`was` with what the body gives."""
    changed = replace(was)
    if body.name:
        changed.name = body.name
    if body.description is not None:
        changed.description = body.description
    if body.provider_id:
        changed.provider_id = body.provider_id
    if body.enabled is not None:
        changed.enabled = body.enabled
    if body.filters is not None:
        filters = domain.parse_json(body.filters, "filters", list)
        if not all(isinstance(item, dict) for item in filters):
            raise ApiError(400, "filters must be a JSON list of objects")
        changed.filters = [{"type": item.get("type"), "value": item.get("value")} for item in filters]
    if body.trigger is not None:
        trigger = domain.parse_json(body.trigger, "trigger", dict)
        setting = trigger.get("trigger_setting") or {}
        cron = setting.get("cron") if isinstance(setting, dict) else None
        changed.trigger = str(trigger.get("type") or "manual")
        changed.cron = cron if isinstance(cron, str) else ""
    if body.extra_attrs is not None:
        changed.extra = domain.parse_json(body.extra_attrs, "extra_attrs", dict)
    return changed


@router.get(_POLICIES, name="list_preheat_policies")
async def list_policies(
    access: Annotated[Access, named_project_access("preheat-policy", "list")], db: Db, page: ListingDep
) -> list[PreheatPolicy]:
    """Policies of the project, newest first."""
    columns = preheat_policies.c
    fields: dict[str, QueryField | Custom] = {
        "id": QueryField(columns.id, "int"),
        "name": QueryField(columns.name),
        "provider_id": QueryField(columns.provider_id, "int"),
        "enabled": QueryField(columns.enabled, "bool"),
        "trigger": QueryField(columns.trigger_type),
        "creation_time": QueryField(columns.created_at, "time"),
        "update_time": QueryField(columns.updated_at, "time"),
    }
    query = domain.policies_query().where(columns.project_id == access.project.id)
    return [
        _policy(domain.policy_of(row))
        for row in await _rows(access, db, page, query, fields, columns.id.desc())
    ]


@router.post(_POLICIES, status_code=201, name="create_preheat_policy")
async def create_policy(
    body: PreheatPolicy,
    access: Annotated[Access, named_project_access("preheat-policy", "create")],
    preheating: Preheating,
) -> Response:
    """Add a policy."""
    project = access.project
    await preheating.save_policy(_wanted(body, Policy("", 0, project_id=project.id)))
    name = f"{project.name}/{body.name}"
    access.audited("create", "preheat_policy", name, f"create preheat policy {name}", project.id)
    return Response(status_code=201, headers=location(access.request, body.name or ""))


@router.get(_POLICY, name="get_preheat_policy")
async def get_policy(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    preheating: Preheating,
) -> PreheatPolicy:
    """One policy."""
    return _policy(await preheating.policy(access.project.id, preheat_policy_name))


@router.put(_POLICY, name="update_preheat_policy")
async def update_policy(
    preheat_policy_name: Name,
    body: PreheatPolicy,
    access: Annotated[Access, named_project_access("preheat-policy", "update")],
    preheating: Preheating,
) -> Response:
    """Change a policy."""
    project = access.project
    was = await preheating.policy(project.id, preheat_policy_name)
    await preheating.save_policy(_wanted(body, was))
    name = f"{project.name}/{preheat_policy_name}"
    access.audited("update", "preheat_policy", name, f"update preheat policy {name}", project.id)
    return Response()


@router.post(_POLICY, status_code=201, name="manual_preheat")
async def manual_preheat(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    preheating: Preheating,
    body: PreheatPolicy | None = None,
) -> Response:
    """Run a policy now; 412 when it or its network is switched off, 502 when the network is not well."""
    project = access.project
    service = preheating
    policy = await service.policy(project.id, preheat_policy_name)
    try:
        execution = await service.start(policy, "manual")
    except DriverError as error:
        raise ApiError(502, str(error)) from None
    name = f"{project.name}/{policy.name}"
    access.audited("create", "preheat_execution", name, f"preheat by {name}", project.id)
    where = f"/projects/{project.name}/preheat/policies/{policy.name}/executions/{execution}"
    return Response(status_code=201, headers={"Location": where})


@router.delete(_POLICY, name="delete_preheat_policy")
async def delete_policy(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "delete")],
    preheating: Preheating,
) -> Response:
    """Remove a policy; 412 while it runs."""
    project = access.project
    policy = await preheating.policy(project.id, preheat_policy_name)
    await preheating.remove_policy(policy)
    name = f"{project.name}/{policy.name}"
    access.audited("delete", "preheat_policy", name, f"delete preheat policy {name}", project.id)
    return Response()


# -- executions ----------------------------------------------------------------------------------------


def _execution(item: Execution) -> PreheatExecution:
    counts = {f"{status.lower()}_task_count": number for status, number in item.counts.items()}
    return PreheatExecution(
        id=item.id,
        vendor_type="P2P_PREHEAT",
        vendor_id=item.policy_id,
        status=item.status,
        status_message=item.message,
        metrics=PreheatMetrics(task_count=sum(item.counts.values()), **counts),
        trigger=item.trigger.upper(),
        extra_attrs={"total": sum(item.counts.values()), "trigger": item.trigger},
        start_time=timestamp(item.started_at),
        end_time=timestamp(item.ended_at),
    )


def _executions(policy_id: int) -> Select[Any]:
    table = preheat_executions.c
    return select(
        table.id,
        table.policy_id,
        table.status,
        table.message,
        table.trigger,
        table.started_at,
        table.ended_at,
    ).where(table.policy_id == policy_id)


async def _counted(access: Access, db: Db, rows: list[Any]) -> list[PreheatExecution]:
    counts = await db.read(lambda c: domain.counts(c, [row.id for row in rows]))
    return [_execution(Execution(**row._mapping, counts=counts.get(row.id, {}))) for row in rows]


async def _one(access: Access, db: Db, preheating: Preheating, policy_name: str, execution_id: int) -> Any:
    service = preheating
    policy = await service.policy(access.project.id, policy_name)
    await service.settle(execution_id)
    query = _executions(policy.id).where(preheat_executions.c.id == execution_id)
    row = await db.read(lambda c: c.execute(query).first())
    if row is None:
        raise NotFoundError(f"execution {execution_id} of preheat policy {policy_name} not found")
    return row


@router.get(f"{_POLICY}/executions", name="list_preheat_executions")
async def list_executions(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
    page: ListingDep,
) -> list[PreheatExecution]:
    """Runs of a policy, newest first."""
    service = preheating
    policy = await service.policy(access.project.id, preheat_policy_name)
    await service.settle_all(policy.id)
    table = preheat_executions.c
    fields: dict[str, QueryField | Custom] = {
        "id": QueryField(table.id, "int"),
        "status": QueryField(table.status),
        "trigger": QueryField(func.upper(table.trigger)),
        "start_time": QueryField(table.started_at, "time"),
        "end_time": QueryField(table.ended_at, "time"),
    }
    return await _counted(
        access, db, await _rows(access, db, page, _executions(policy.id), fields, table.id.desc())
    )


@router.get(_EXECUTION, name="get_preheat_execution")
async def get_execution(
    preheat_policy_name: Name,
    execution_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
) -> PreheatExecution:
    """One run."""
    return (
        await _counted(access, db, [await _one(access, db, preheating, preheat_policy_name, execution_id)])
    )[0]


@router.patch(_EXECUTION, name="stop_preheat_execution")
async def stop_execution(
    preheat_policy_name: Name,
    execution_id: Id,
    body: PreheatExecution,
    access: Annotated[Access, named_project_access("preheat-policy", "update")],
    db: Db,
    preheating: Preheating,
) -> Response:
    """Stop a run: `{"status": "Stopped"}`."""
    if (body.status or "").lower() != "stopped":
        raise ApiError(400, "status can only be set to Stopped")
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    await preheating.stop(execution_id)
    project = access.project
    name = f"{project.name}/{preheat_policy_name}"
    access.audited("stop", "preheat_execution", name, f"stop preheating by {name}", project.id)
    return Response()


@router.get(f"{_EXECUTION}/tasks", name="list_preheat_tasks")
async def list_tasks(
    preheat_policy_name: Name,
    execution_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
    page: ListingDep,
) -> list[PreheatTask]:
    """The tags of a run."""
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    table = preheat_tasks.c
    fields: dict[str, QueryField | Custom] = {
        "id": QueryField(table.id, "int"),
        "status": QueryField(table.status),
        "digest": QueryField(table.digest),
        "creation_time": QueryField(table.created_at, "time"),
        "update_time": QueryField(table.updated_at, "time"),
        "start_time": QueryField(table.started_at, "time"),
        "end_time": QueryField(table.ended_at, "time"),
    }
    query = select(preheat_tasks).where(table.execution_id == execution_id)
    return [
        PreheatTask(
            id=row.id,
            execution_id=execution_id,
            status=row.status,
            status_message=row.message,
            run_count=row.runs,
            extra_attrs={
                "artifact": f"{row.repository}:{row.tag}",
                "digest": row.digest,
                "kind": row.kind.lower(),
            },
            creation_time=timestamp(row.created_at),
            update_time=timestamp(row.updated_at),
            start_time=timestamp(row.started_at),
            end_time=timestamp(row.ended_at),
        )
        for row in await _rows(access, db, page, query, fields, table.id)
    ]


@router.get(f"{_EXECUTION}/tasks/{{task_id}}/logs", response_class=Response, name="get_preheat_log")
async def get_log(
    preheat_policy_name: Name,
    execution_id: Id,
    task_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
) -> Response:
    """What a task did."""
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    query = select(preheat_tasks.c.job_id).where(
        preheat_tasks.c.execution_id == execution_id, preheat_tasks.c.id == task_id
    )
    row = await db.read(lambda c: c.execute(query).first())
    if row is None:
        raise NotFoundError(f"task {task_id} of preheat execution {execution_id} not found")
    text = await preheating.log(row[0]) if row[0] else ""
    return Response(text, media_type="text/plain; charset=utf-8")
