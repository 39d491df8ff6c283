"""Replication: policies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response

from seawall.features.replication.model import Filter
from seawall.features.replication.model import RegistryInfo as StoredRegistry
from seawall.features.replication.model import ReplicationPolicy as Policy
from seawall.web.harbor.deps import Access, Id, ListingDep, location, system_access, timestamp
from seawall.web.harbor.needs import Replicating
from seawall.web.harbor.replication.models import (
    Name,
    Registry,
    ReplicationFilter,
    ReplicationPolicy,
    ReplicationTrigger,
    ReplicationTriggerSettings,
    registry_model,
    this_registry,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["replication"])


def _policy_model(policy: Policy, known: dict[int, StoredRegistry]) -> ReplicationPolicy:
    def other(registry_id: int | None) -> Registry:
        if registry_id is None:
            return this_registry()
        return registry_model(known[registry_id])

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
    # Both are shown, and a client may send both back: the older name is the one that Harbor follows.
    deletion = body.deletion if body.deletion is not None else body.replicate_deletion
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


async def _known(replication: Replicating) -> dict[int, StoredRegistry]:
    return {item.id: item for item in await replication.registries.all()}


@router.get("/replication/policies")
async def list_replication_policies(
    access: Annotated[Access, system_access("replication-policy", "list")],
    replication: Replicating,
    listing: ListingDep,
    name: Name = None,
) -> list[ReplicationPolicy]:
    """The policies, newest first."""
    known = await _known(replication)
    total, found = await replication.policies.page(listing, name)
    listing.total(total)
    return [_policy_model(item, known) for item in found]


@router.post("/replication/policies", status_code=201, response_model=None)
async def create_replication_policy(
    body: ReplicationPolicy,
    request: Request,
    access: Annotated[Access, system_access("replication-policy", "create")],
    replication: Replicating,
) -> Response:
    """Add a policy."""
    made = await replication.policies.add(_policy_of(body), also=access.trace)
    access.audited("create", "replication_policy", str(body.name))
    return Response(status_code=201, headers=location(request, made))


@router.get("/replication/policies/{id}")
async def get_replication_policy(
    id: Id, access: Annotated[Access, system_access("replication-policy", "read")], replication: Replicating
) -> ReplicationPolicy:
    """One policy."""
    return _policy_model(await replication.policies.get(id), await _known(replication))


@router.put("/replication/policies/{id}", response_model=None)
async def update_replication_policy(
    id: Id,
    body: ReplicationPolicy,
    access: Annotated[Access, system_access("replication-policy", "update")],
    replication: Replicating,
) -> Response:
    """Replace a policy."""
    await replication.policies.change(_policy_of(body, id), also=access.trace)
    access.audited("update", "replication_policy", str(body.name))
    return Response(status_code=200)


@router.delete("/replication/policies/{id}", response_model=None)
async def delete_replication_policy(
    id: Id, access: Annotated[Access, system_access("replication-policy", "delete")], replication: Replicating
) -> Response:
    """Forget a policy."""
    await replication.policies.remove(id, also=access.trace)
    access.audited("delete", "replication_policy", str(id))
    return Response(status_code=200)
