"""Replication: registries."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response

from seawall.features.replication.adapter import RemoteRegistry as SecretRegistry
from seawall.features.replication.adapters import ADAPTERS, AdapterInfo
from seawall.features.replication.model import RESOURCES, TRIGGERS
from seawall.features.replication.registries import check_type, check_url
from seawall.features.replication.remote import RemoteError
from seawall.web.harbor.deps import Access, Id, ListingDep, location, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Replicating
from seawall.web.harbor.replication.models import (
    HIDDEN,
    FilterStyle,
    Name,
    Registry,
    RegistryCredential,
    RegistryInfo,
    RegistryPing,
    RegistryUpdate,
    registry_model,
    this_registry,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["replication"])


RegistryList = Annotated[Access, system_access("registry", "list")]
RegistryRead = Annotated[Access, system_access("registry", "read")]
RegistryCreate = Annotated[Access, system_access("registry", "create")]
RegistryChange = Annotated[Access, system_access("registry", "update")]


@router.get("/registries")
async def list_registries(
    access: RegistryList, replication: Replicating, listing: ListingDep, name: Name = None
) -> list[Registry]:
    """The registries to replicate with."""
    total, found = await replication.registries.page(listing, name)
    listing.total(total)
    return [registry_model(item) for item in found]


@router.post("/registries", status_code=201, response_model=None)
async def create_registry(
    body: Registry, request: Request, access: RegistryCreate, replication: Replicating
) -> Response:
    """Add a registry; it is tried first."""
    credential = body.credential or RegistryCredential()
    if not body.name or not body.url or not body.type:
        raise ApiError(400, "name, url and type are required")
    try:
        made = await replication.registries.add(
            name=body.name,
            url=body.url,
            type=body.type,
            description=body.description or "",
            credential_type=credential.type or "basic",
            access_key=credential.access_key or "",
            access_secret=credential.access_secret or "",
            insecure=bool(body.insecure),
            ca_certificate=body.ca_certificate or None,
            also=access.trace,
            internal_networks=body.internal_networks or (),
        )
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("create", "registry", body.name)
    return Response(status_code=201, headers=location(request, made))


@router.post("/registries/ping", response_model=None)
async def ping_registry(body: RegistryPing, access: RegistryCreate, replication: Replicating) -> Response:
    """Try a registry."""
    base = SecretRegistry(0, "", "", "")
    if body.id:
        base = await replication.registries.with_secret(body.id)
    secret = base.secret if body.access_secret in (None, HIDDEN) else str(body.access_secret)
    url = check_url(body.url) if body.url else base.url
    if body.id and url != base.url and body.access_secret in (None, HIDDEN):
        # A stored secret is not for sending to a place that somebody names now.
        secret = ""
    kind = body.type or base.type
    if not url or not kind:
        raise ApiError(400, "url and type are required")
    check_type(kind)
    try:
        await replication.registries.check(
            SecretRegistry(
                0,
                "",
                kind,
                url,
                base.username if body.access_key is None else body.access_key,
                secret,
                base.insecure if body.insecure is None else body.insecure,
                body.ca_certificate or base.ca_certificate,
                base.token_origin if body.id and url == base.url else None,
                tuple(body.internal_networks or base.internal_networks),
            )
        )
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("ping", "registry", url)
    return Response(status_code=200)


@router.get("/registries/{id}")
async def get_registry(id: Id, access: RegistryRead, replication: Replicating) -> Registry:
    """One registry; 0 is this one."""
    return registry_model(await replication.registries.get(id)) if id else this_registry()


@router.put("/registries/{id}", response_model=None)
async def update_registry(
    id: Id, body: RegistryUpdate, access: RegistryChange, replication: Replicating
) -> Response:
    """Change a registry; it is tried first."""
    changes = body.model_dump(exclude_none=True)
    if changes.get("access_secret") == HIDDEN:
        del changes["access_secret"]
    try:
        await replication.registries.change(id, changes, also=access.trace)
    except RemoteError as error:
        raise ApiError(400, f"the registry is not healthy: {error}") from None
    access.audited("update", "registry", str(id))
    return Response(status_code=200)


@router.delete("/registries/{id}", response_model=None)
async def delete_registry(
    id: Id, access: Annotated[Access, system_access("registry", "delete")], replication: Replicating
) -> Response:
    """Forget a registry that nothing uses."""
    await replication.registries.remove(id, also=access.trace)
    access.audited("delete", "registry", str(id))
    return Response(status_code=200)


def _capabilities(info: AdapterInfo, *, local: bool) -> RegistryInfo:
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
        # Another registry's pushes are not events here.
        supported_triggers=[name for name in TRIGGERS if local or name != "event_based"],
        supported_copy_by_chunk=True,
    )


@router.get("/registries/{id}/info")
async def get_registry_info(id: Id, access: RegistryRead, replication: Replicating) -> RegistryInfo:
    """What a registry can do; 0 is this registry."""
    kind = (await replication.registries.get(id)).type if id else str(this_registry().type)
    return _capabilities(ADAPTERS[kind], local=id == 0)


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
