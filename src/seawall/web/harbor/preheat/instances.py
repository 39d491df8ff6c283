"""Preheating: instances."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response

from seawall.features.preheat import lists
from seawall.features.preheat.drivers import PROVIDERS, DriverError, Instance
from seawall.features.preheat.model import InstanceRow, InstanceValues
from seawall.web.harbor.deps import Access, ListingDep, location, named_project_access, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Preheating
from seawall.web.harbor.preheat.models import (
    Name,
    PreheatInstance,
    PreheatProvider,
    ProviderUnderProject,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["preheat"])
_POLICIES = "/projects/{project_name}/preheat/policies"
_POLICY = f"{_POLICIES}/{{preheat_policy_name}}"
_EXECUTION = f"{_POLICY}/executions/{{execution_id}}"


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
    """Kinds of networks that instances can have."""
    return [PreheatProvider(id=item.id, name=item.name, source=item.source) for item in PROVIDERS.values()]


@router.get("/p2p/preheat/instances", name="list_preheat_instances")
async def list_instances(
    access: Annotated[Access, system_access("preheat-instance", "list")], db: Db, page: ListingDep
) -> list[PreheatInstance]:
    """Networks, by name."""
    total, found = await db.read(lambda c: lists.list_instances(c, page))
    page.total(total)
    return [_instance(item) for item in found]


@router.post("/p2p/preheat/instances", status_code=201, name="create_preheat_instance")
async def create_instance(
    body: PreheatInstance,
    access: Annotated[Access, system_access("preheat-instance", "create")],
    preheating: Preheating,
) -> Response:
    """Add a network."""
    await preheating.instances.add(_values(body), also=access.trace)
    access.audited("create", "preheat_instance", body.name or "", f"create preheat instance {body.name}")
    return Response(status_code=201, headers=location(access.request, body.name or ""))


@router.post("/p2p/preheat/instances/ping", name="ping_preheat_instance")
async def ping_instance(
    body: PreheatInstance,
    access: Annotated[Access, system_access("preheat-instance", "read")],
    preheating: Preheating,
) -> Response:
    """Ask a network, stored (by id) or described, whether it works."""
    if body.id:
        instance = await preheating.instances.reach(body.id)
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
        await preheating.instances.ping(instance)
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
    found = await preheating.instances.get(preheat_instance_name)
    try:
        await preheating.instances.ping(await preheating.instances.reach(found.id))
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
    await preheating.instances.change(preheat_instance_name, _values(body), also=access.trace)
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
    await preheating.instances.remove(preheat_instance_name, also=access.trace)
    name = preheat_instance_name
    access.audited("delete", "preheat_instance", name, f"delete preheat instance {name}")
    return Response()


@router.get("/projects/{project_name}/preheat/providers")
async def list_providers_under_project(
    access: Annotated[Access, named_project_access("preheat-policy", "list")],
    db: Db,
) -> list[ProviderUnderProject]:
    """Networks that policies of the project can name."""
    rows = await db.read(lists.all_instances)
    return [
        ProviderUnderProject(
            id=row.id,
            provider=f"{PROVIDERS[row.vendor].name} {row.name}-{row.endpoint}",
            enabled=row.enabled,
            default=row.is_default,
        )
        for row in rows
    ]
