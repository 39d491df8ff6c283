"""Registries, replication policies, executions and adapters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from seawall.features.replication.adapters import ADAPTERS, AdapterInfo
from seawall.features.replication.adapters import Registry as SecretRegistry
from seawall.features.replication.client import RemoteError
from seawall.features.replication.policies import RESOURCES, TRIGGERS, Filter, Policy
from seawall.features.replication.service import Execution, ReplicationService, Task, check_type, check_url
from seawall.features.replication.service import RegistryInfo as StoredRegistry
from seawall.web.harbor.deps import Access, ApiRouter, Id, ListingDep, location, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Replicating
from seawall.web.harbor.query import Listing

router = ApiRouter(tags=["replication"])

_HIDDEN = "*****"
_URL = 1024
_SECRET = 16 * 1024
_PEM = 256 * 1024


class RegistryCredential(BaseModel):
    """How to log in; a stored secret comes back as stars."""

    type: str | None = Field(default=None, max_length=32)
    access_key: str | None = Field(default=None, max_length=_URL)
    access_secret: str | None = Field(default=None, max_length=_SECRET)


class Registry(BaseModel):
    """Another registry."""

    id: int | None = None
    name: str | None = Field(default=None, max_length=255)
    type: str | None = Field(default=None, max_length=64)
    url: str | None = Field(default=None, max_length=_URL)
    description: str | None = Field(default=None, max_length=4096)
    credential: RegistryCredential | None = None
    insecure: bool | None = None
    ca_certificate: str | None = Field(default=None, max_length=_PEM)
    status: str | None = None
    creation_time: str | None = None
    update_time: str | None = None


class RegistryUpdate(BaseModel):
    """Changes of a registry; what is left out stays."""

    name: str | None = Field(default=None, max_length=255)
    description: str | None = Field(default=None, max_length=4096)
    url: str | None = Field(default=None, max_length=_URL)
    credential_type: str | None = Field(default=None, max_length=32)
    access_key: str | None = Field(default=None, max_length=_URL)
    access_secret: str | None = Field(default=None, max_length=_SECRET)
    insecure: bool | None = None
    ca_certificate: str | None = Field(default=None, max_length=_PEM)


class RegistryPing(RegistryUpdate):
    """A registry to try; with `id`, what is left out is the stored one's."""

    id: int | None = None
    type: str | None = Field(default=None, max_length=64)


class FilterStyle(BaseModel):
    """A filter and the way its value is given."""

    type: str
    style: str
    values: list[str] | None = None


class RegistryInfo(BaseModel):
    """What a kind of registry can do."""

    type: str
    description: str
    supported_resource_filters: list[FilterStyle]
    supported_triggers: list[str]
    supported_copy_by_chunk: bool


class ReplicationTriggerSettings(BaseModel):
    """Settings of a trigger."""

    cron: str | None = Field(default=None, max_length=255)


class ReplicationTrigger(BaseModel):
    """What starts a policy: manual, scheduled or event_based."""

    type: str | None = Field(default=None, max_length=32)
    trigger_settings: ReplicationTriggerSettings | None = None


class ReplicationFilter(BaseModel):
    """A filter: name, tag or resource with text, label with a list of names."""

    type: str = Field(max_length=32)
    value: str | list[str]
    decoration: str | None = Field(default=None, max_length=32)


class ReplicationPolicy(BaseModel):
    """What is copied where, and when."""

    id: int | None = None
    name: str | None = Field(default=None, max_length=255)
    description: str | None = Field(default=None, max_length=4096)
    src_registry: Registry | None = None
    dest_registry: Registry | None = None
    dest_namespace: str | None = Field(default=None, max_length=255)
    dest_namespace_replace_count: int | None = Field(default=None, ge=-1, le=127)
    trigger: ReplicationTrigger | None = None
    filters: list[ReplicationFilter] | None = Field(default=None, max_length=32)
    replicate_deletion: bool | None = None
    deletion: bool | None = None
    override: bool | None = None
    enabled: bool | None = None
    speed: int | None = Field(default=None, ge=-1, lt=2**31)
    copy_by_chunk: bool | None = None
    single_active_replication: bool | None = None
    creation_time: str | None = None
    update_time: str | None = None


class StartReplicationExecution(BaseModel):
    """Which policy to run."""

    policy_id: int = Field(ge=1, lt=2**53)


class ReplicationExecution(BaseModel):
    """One run of a policy."""

    id: int
    policy_id: int
    status: str
    status_text: str
    trigger: str
    start_time: str | None
    end_time: str | None
    total: int
    failed: int
    succeed: int
    in_progress: int
    stopped: int


class ReplicationTask(BaseModel):
    """A repository's part of a run."""

    id: int
    execution_id: int
    status: str
    job_id: str | None
    operation: str
    resource_type: str
    src_resource: str
    dst_resource: str
    start_time: str | None
    end_time: str | None


def _service(access: Access, replication: Replicating) -> ReplicationService:
    return replication


def _page(listing: Listing, items: list[Any]) -> list[Any]:
    listing.total(len(items))
    return items[listing.offset : listing.offset + listing.size]


def _wanted_name(listing: Listing, name: str | None, found: str) -> bool:
    if name and name.lower() not in found.lower():
        return False
    condition = listing.condition("name")
    if condition is None:
        return True
    if condition.operator == "fuzzy":
        return condition.value.lower() in found.lower()
    return condition.operator != "eq" or condition.value == found


# -- registries ----------------------------------------------------------------------------------------


def _registry(found: StoredRegistry) -> Registry:
    return Registry(
        id=found.id,
        name=found.name,
        type=found.type,
        url=found.url,
        description=found.description,
        credential=RegistryCredential(
            type=found.credential_type,
            access_key=found.access_key,
            access_secret=_HIDDEN if found.has_secret else None,
        ),
        insecure=found.insecure,
        ca_certificate=found.ca_certificate,
        status=found.status,
        creation_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
    )


RegistryList = Annotated[Access, system_access("registry", "list")]
RegistryRead = Annotated[Access, system_access("registry", "read")]
RegistryCreate = Annotated[Access, system_access("registry", "create")]
RegistryChange = Annotated[Access, system_access("registry", "update")]
Name = Annotated[str | None, Query(max_length=255)]


@router.get("/registries")
async def list_registries(
    access: RegistryList, replication: Replicating, listing: ListingDep, name: Name = None
) -> list[Registry]:
    """The registries to replicate with."""
    found = await _service(access, replication).registries()
    return _page(listing, [_registry(item) for item in found if _wanted_name(listing, name, item.name)])


@router.post("/registries", status_code=201, response_model=None)
async def create_registry(
    body: Registry, request: Request, access: RegistryCreate, replication: Replicating
) -> Response:
    """Add a registry; it is tried first."""
    credential = body.credential or RegistryCredential()
    if not body.name or not body.url or not body.type:
        raise ApiError(400, "name, url and type are required")
    try:
        made = await _service(access, replication).add_registry(
            name=body.name,
            url=body.url,
            type=body.type,
            description=body.description or "",
            credential_type=credential.type or "basic",
            access_key=credential.access_key or "",
            access_secret=credential.access_secret or "",
            insecure=bool(body.insecure),
            ca_certificate=body.ca_certificate or None,
        )
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("create", "registry", body.name)
    return Response(status_code=201, headers=location(request, made))


@router.post("/registries/ping", response_model=None)
async def ping_registry(body: RegistryPing, access: RegistryCreate, replication: Replicating) -> Response:
    """Try a registry."""
    service = _service(access, replication)
    base = SecretRegistry(0, "", "", "")
    if body.id:
        base = await service.secret_registry(body.id)
    secret = base.secret if body.access_secret in (None, _HIDDEN) else str(body.access_secret)
    url = check_url(body.url) if body.url else base.url
    if body.id and url != base.url and body.access_secret in (None, _HIDDEN):
        # A stored secret is not for sending to a place that somebody names now.
        secret = ""
    kind = body.type or base.type
    if not url or not kind:
        raise ApiError(400, "url and type are required")
    check_type(kind)
    try:
        await service.try_registry(
            SecretRegistry(
                0,
                "",
                kind,
                url,
                base.username if body.access_key is None else body.access_key,
                secret,
                base.insecure if body.insecure is None else body.insecure,
                body.ca_certificate or base.ca_certificate,
            )
        )
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("ping", "registry", url)
    return Response(status_code=200)


@router.get("/registries/{id}")
async def get_registry(id: Id, access: RegistryRead, replication: Replicating) -> Registry:
    """One registry."""
    return _registry(await _service(access, replication).registry(id))


@router.put("/registries/{id}", response_model=None)
async def update_registry(
    id: Id, body: RegistryUpdate, access: RegistryChange, replication: Replicating
) -> Response:
    """Change a registry; it is tried first."""
    changes = body.model_dump(exclude_none=True)
    if changes.get("access_secret") == _HIDDEN:
        del changes["access_secret"]
    try:
        await _service(access, replication).change_registry(id, changes)
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("update", "registry", str(id))
    return Response(status_code=200)


@router.delete("/registries/{id}", response_model=None)
async def delete_registry(
    id: Id, access: Annotated[Access, system_access("registry", "delete")], replication: Replicating
) -> Response:
    """Forget a registry that nothing uses."""
    await _service(access, replication).remove_registry(id)
    access.audited("delete", "registry", str(id))
    return Response(status_code=200)


def _capabilities(info: AdapterInfo) -> RegistryInfo:
    filters = [
        FilterStyle(type="name", style="input"),
        FilterStyle(type="tag", style="input"),
        FilterStyle(type="resource", style="radio", values=list(RESOURCES)),
    ]
    if info.label_filter:
        filters.insert(2, FilterStyle(type="label", style="input"))
    return RegistryInfo(
        type=info.type,
        description=info.description,
        supported_resource_filters=filters,
        supported_triggers=list(TRIGGERS),
        supported_copy_by_chunk=True,
    )


@router.get("/registries/{id}/info")
async def get_registry_info(id: Id, access: RegistryRead, replication: Replicating) -> RegistryInfo:
    """What a registry can do; 0 is this registry."""
    return _capabilities(ADAPTERS[(await _service(access, replication).registry(id)).type])


@router.get("/replication/adapters")
async def list_registry_provider_types(
    access: Annotated[Access, system_access("replication-adapter", "list")],
) -> list[str]:
    """The kinds of registries."""
    return list(ADAPTERS)


@router.get("/replication/adapterinfos")
async def list_registry_provider_infos(
    access: Annotated[Access, system_access("replication-adapter", "list")],
) -> dict[str, Any]:
    """What a form for each kind of registry needs to know."""
    return {
        info.type: {
            "endpoint_pattern": {
                "endpoint_type": "EndpointPatternTypeList"
                if info.endpoints
                else "EndpointPatternTypeStandard",
                "endpoints": [{"key": key, "value": value} for key, value in info.endpoints],
            },
            "credential_pattern": {
                "access_key_type": info.key_type,
                "access_key_data": info.key_data,
                "access_secret_type": info.secret_type,
                "access_secret_data": info.secret_data,
            },
        }
        for info in ADAPTERS.values()
    }


# -- policies ------------------------------------------------------------------------------------------


def _policy_model(policy: Policy, known: dict[int, StoredRegistry]) -> ReplicationPolicy:
    def other(registry_id: int | None) -> Registry:
        if registry_id is None:
            return Registry(id=0, name="Local", type="seawall", url="")
        return _registry(known[registry_id])

    return ReplicationPolicy(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        src_registry=other(policy.src_registry_id),
        dest_registry=other(policy.dest_registry_id),
        dest_namespace=policy.dest_namespace,
        dest_namespace_replace_count=policy.replace_count,
        trigger=ReplicationTrigger(
            type=policy.trigger, trigger_settings=ReplicationTriggerSettings(cron=policy.cron)
        ),
        filters=[
            ReplicationFilter(type=item.type, value=item.value, decoration=item.decoration)
            for item in policy.filters
        ],
        replicate_deletion=policy.replicate_deletion,
        deletion=policy.replicate_deletion,
        override=policy.override,
        enabled=policy.enabled,
        speed=policy.speed,
        copy_by_chunk=policy.copy_by_chunk,
        single_active_replication=policy.single_active,
        creation_time=timestamp(policy.created_at),
        update_time=timestamp(policy.updated_at),
    )


def _policy_of(body: ReplicationPolicy, policy_id: int = 0) -> Policy:
    trigger = body.trigger or ReplicationTrigger()
    settings = trigger.trigger_settings or ReplicationTriggerSettings()
    deletion = body.replicate_deletion if body.replicate_deletion is not None else body.deletion
    count = body.dest_namespace_replace_count
    return Policy(
        id=policy_id,
        name=body.name or "",
        description=body.description or "",
        src_registry_id=(body.src_registry and body.src_registry.id) or None,
        dest_registry_id=(body.dest_registry and body.dest_registry.id) or None,
        dest_namespace=body.dest_namespace or "",
        replace_count=-1 if count is None else count,
        trigger=trigger.type or "manual",
        cron=settings.cron or None,
        filters=[Filter(f.type, f.value, f.decoration or "matches") for f in body.filters or []],
        replicate_deletion=bool(deletion),
        override=body.override is not False,
        enabled=body.enabled is not False,
        speed=max(body.speed or 0, 0),
        copy_by_chunk=bool(body.copy_by_chunk),
        single_active=bool(body.single_active_replication),
    )


async def _known(access: Access, replication: Replicating) -> dict[int, StoredRegistry]:
    return {item.id: item for item in await _service(access, replication).registries()}


@router.get("/replication/policies")
async def list_replication_policies(
    access: Annotated[Access, system_access("replication-policy", "list")],
    replication: Replicating,
    listing: ListingDep,
    name: Name = None,
) -> list[ReplicationPolicy]:
    """The policies."""
    known = await _known(access, replication)
    found = [
        item
        for item in await _service(access, replication).policies()
        if _wanted_name(listing, name, item.name)
    ]
    return [_policy_model(item, known) for item in _page(listing, found)]


@router.post("/replication/policies", status_code=201, response_model=None)
async def create_replication_policy(
    body: ReplicationPolicy,
    request: Request,
    access: Annotated[Access, system_access("replication-policy", "create")],
    replication: Replicating,
) -> Response:
    """Add a policy."""
    made = await _service(access, replication).add_policy(_policy_of(body))
    access.audited("create", "replication_policy", str(body.name))
    return Response(status_code=201, headers=location(request, made))


@router.get("/replication/policies/{id}")
async def get_replication_policy(
    id: Id, access: Annotated[Access, system_access("replication-policy", "read")], replication: Replicating
) -> ReplicationPolicy:
    """One policy."""
    return _policy_model(await _service(access, replication).policy(id), await _known(access, replication))


@router.put("/replication/policies/{id}", response_model=None)
async def update_replication_policy(
    id: Id,
    body: ReplicationPolicy,
    access: Annotated[Access, system_access("replication-policy", "update")],
    replication: Replicating,
) -> Response:
    """Replace a policy."""
    await _service(access, replication).change_policy(_policy_of(body, id))
    access.audited("update", "replication_policy", str(body.name))
    return Response(status_code=200)


@router.delete("/replication/policies/{id}", response_model=None)
async def delete_replication_policy(
    id: Id, access: Annotated[Access, system_access("replication-policy", "delete")], replication: Replicating
) -> Response:
    """Forget a policy."""
    await _service(access, replication).remove_policy(id)
    access.audited("delete", "replication_policy", str(id))
    return Response(status_code=200)


# -- executions ----------------------------------------------------------------------------------------


def _execution(found: Execution) -> ReplicationExecution:
    return ReplicationExecution(
        id=found.id,
        policy_id=found.policy_id,
        status=found.status,
        status_text=found.status_text,
        trigger=found.trigger,
        start_time=timestamp(found.started_at),
        end_time=timestamp(found.ended_at),
        total=found.total,
        failed=found.failed,
        succeed=found.succeed,
        in_progress=found.in_progress,
        stopped=found.stopped,
    )


def _task(found: Task) -> ReplicationTask:
    return ReplicationTask(
        id=found.id,
        execution_id=found.execution_id,
        status=found.status,
        job_id=found.job_id,
        operation=found.operation,
        resource_type=found.resource_type,
        src_resource=found.src_resource,
        dst_resource=found.dst_resource,
        start_time=timestamp(found.started_at),
        end_time=timestamp(found.ended_at),
    )


ExecutionList = Annotated[Access, system_access("replication", "list")]
ExecutionRead = Annotated[Access, system_access("replication", "read")]
ExecutionCreate = Annotated[Access, system_access("replication", "create")]
Status = Annotated[str | None, Query(max_length=32)]


@router.get("/replication/executions")
async def list_replication_executions(
    access: ExecutionList,
    replication: Replicating,
    listing: ListingDep,
    policy_id: Annotated[int | None, Query(ge=1, lt=2**53)] = None,
    status: Status = None,
    trigger: Status = None,
) -> list[ReplicationExecution]:
    """Runs, newest first."""
    found, total = await _service(access, replication).executions(
        policy_id=policy_id,
        status=status,
        trigger=trigger,
        limit=listing.size,
        offset=listing.offset,
    )
    listing.total(total)
    return [_execution(item) for item in found]


@router.post("/replication/executions", status_code=201, response_model=None)
async def start_replication(
    body: StartReplicationExecution, request: Request, access: ExecutionCreate, replication: Replicating
) -> Response:
    """Run a policy now."""
    made = await _service(access, replication).start(body.policy_id, "manual")
    access.audited("start", "replication", str(body.policy_id))
    return Response(status_code=201, headers=location(request, made))


@router.get("/replication/executions/{id}")
async def get_replication_execution(
    id: Id, access: ExecutionRead, replication: Replicating
) -> ReplicationExecution:
    """One run."""
    return _execution(await _service(access, replication).execution(id))


@router.put("/replication/executions/{id}", response_model=None)
async def stop_replication(id: Id, access: ExecutionCreate, replication: Replicating) -> Response:
    """Stop a run."""
    await _service(access, replication).stop(id)
    access.audited("stop", "replication", str(id))
    return Response(status_code=200)


@router.get("/replication/executions/{id}/tasks")
async def list_replication_tasks(
    id: Id,
    access: ExecutionRead,
    replication: Replicating,
    listing: ListingDep,
    status: Status = None,
    resource_type: Status = None,
) -> list[ReplicationTask]:
    """The tasks of a run."""
    service = _service(access, replication)
    await service.execution(id)
    found = await service.tasks(id, status=status, resource_type=resource_type)
    return [_task(item) for item in _page(listing, found)]


@router.get("/replication/executions/{id}/tasks/{task_id}/log", response_class=PlainTextResponse)
async def get_replication_log(
    id: Id, task_id: Id, access: ExecutionRead, replication: Replicating
) -> PlainTextResponse:
    """The log of a task."""
    return PlainTextResponse(await _service(access, replication).task_log(id, task_id))
