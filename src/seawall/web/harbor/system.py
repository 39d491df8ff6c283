"""The system: configuration, general information, health, statistics, volumes, CVE allowlist."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Annotated, Any

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy import Connection

from seawall import __version__
from seawall.access import projects as domain
from seawall.access.sources import LDAP, OIDC
from seawall.infra.ca import has_ca
from seawall.infra.configuration import ITEMS
from seawall.registry import quota_lists, repository_lists
from seawall.web.harbor.deps import Access, anyone, signed_in, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Config, Db, Dr, RedisDep, SettingsDep, SourcesDep, StorageDep
from seawall.web.harbor.projects import CVEAllowlist, allowlist_model
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()
# In the form in which Harbor's clients look for a version. It stays at the release whose own API tests are
# the cases of `tests/system/harbor`, although the API has what 2.15 added.
COMPATIBLE = f"v2.14.0-seawall-{__version__}"


class OidcSource(BaseModel):
    """An OpenID provider to sign in with. `name`: for `/c/oidc/login?source=`; the default one has none."""

    name: str | None = None
    title: str


class GeneralInfo(BaseModel):
    """What clients need before, and (the rest) after, they sign in."""

    banner_message: str | None = None
    current_time: str | None = None
    registry_url: str | None = None
    external_url: str | None = None
    auth_mode: str
    primary_auth_mode: bool
    project_creation_restriction: str | None = None
    self_registration: bool
    has_ca_root: bool | None = None
    harbor_version: str | None = None
    registry_storage_provider_name: str | None = None
    read_only: bool | None = None
    notification_enable: bool | None = None
    oidc_provider_name: str | None = None
    # Seawall's own: every OpenID provider to sign in with, in order.
    oidc_sources: list[OidcSource] | None = None
    # Seawall's own: what the directories are called whose passwords the sign-in form takes, in order.
    directories: list[str] | None = None
    # Seawall's own, of two sites: active, standby or fenced, and where the active site is.
    dr_role: str | None = None
    active_site_url: str | None = None


class Storage(BaseModel):
    """Bytes of a volume."""

    total: int
    free: int


class SystemInfo(BaseModel):
    """Volumes."""

    storage: list[Storage]


class ComponentHealthStatus(BaseModel):
    """Health of a component; `error` says what is wrong."""

    name: str
    status: str
    error: str | None = None


class OverallHealthStatus(BaseModel):
    """healthy when every component is."""

    status: str
    components: list[ComponentHealthStatus]


class Statistic(BaseModel):
    """Counts of what the caller may see; `total_*` are of everything, and 0 for others than administrators.

    Storage is in bytes.
    """

    private_project_count: int
    private_repo_count: int
    public_project_count: int
    public_repo_count: int
    total_project_count: int = 0
    total_repo_count: int = 0
    total_storage_consumption: int = 0


class ConfigItem(BaseModel):
    """A configuration item's value, and whether the API can change it."""

    value: bool | int | str
    editable: bool


@router.get("/ping", tags=["ping"])
async def get_ping(access: Annotated[Access, anyone()]) -> Response:
    """Whether the API answers."""
    return Response("Pong", media_type="text/plain")


@router.get("/systeminfo", tags=["systeminfo"])
async def get_system_info(
    access: Annotated[Access, anyone()],
    configuration: Config,
    settings: SettingsDep,
    dr: Dr,
    sources: SourcesDep,
) -> GeneralInfo:
    """General information; version and addresses are for those who are signed in."""
    values = await configuration.all()
    oidc = values["auth_mode"] == "oidc_auth"
    providers, directories = await sources.enabled(OIDC), await sources.enabled(LDAP)
    info = GeneralInfo(
        auth_mode=values["auth_mode"],
        primary_auth_mode=values["primary_auth_mode"],
        self_registration=values["self_registration"],
        banner_message=values["banner_message"],
        oidc_provider_name=values["oidc_name"] if oidc else "",
        oidc_sources=[OidcSource(name=item.name or None, title=item.title or "OIDC") for item in providers],
        directories=[item.title if item.name else "LDAP" for item in directories],
        current_time=timestamp(time.time()),
    )
    if access.principal.known:
        base = settings.external_url or str(access.request.base_url).rstrip("/")
        info.external_url = base
        info.registry_url = base.partition("://")[2]
        info.project_creation_restriction = values["project_creation_restriction"]
        info.harbor_version = COMPATIBLE
        info.registry_storage_provider_name = settings.storage.driver
        info.read_only = values["read_only"]
        info.notification_enable = values["notification_enable"]
        info.has_ca_root = await asyncio.to_thread(has_ca, settings)
        if dr.enabled:
            info.dr_role, info.active_site_url = await dr.standing()
    return info


@router.get("/systeminfo/volumes", tags=["systeminfo"])
async def get_volumes(
    access: Annotated[Access, system_access("system-volumes", "read")], settings: SettingsDep
) -> SystemInfo:
    """Size and free space of the blob volume; object stores have no bounds and give no entry."""
    if settings.storage.driver != "filesystem":
        return SystemInfo(storage=[])
    usage = shutil.disk_usage(settings.storage_root)
    return SystemInfo(storage=[Storage(total=usage.total, free=usage.free)])


@router.get("/health", tags=["health"])
async def get_health(
    access: Annotated[Access, anyone()], db: Db, storage: StorageDep, redis_client: RedisDep
) -> OverallHealthStatus:
    """Health of each component."""

    async def database() -> None:
        await db.check()

    async def registry() -> None:
        await storage.check()

    async def core() -> None:
        return None

    async def redis() -> None:
        if await redis_client.status() != "ok":
            raise ConnectionError

    checks = {"core": core, "database": database, "registry": registry}
    if redis_client.configured:
        checks["redis"] = redis
    components = []
    for name, check in checks.items():
        try:
            await check()
            components.append(ComponentHealthStatus(name=name, status="healthy"))
        except Exception as error:
            # Only the kind of error: the text may name hosts and paths, and everyone may ask.
            components.append(
                ComponentHealthStatus(name=name, status="unhealthy", error=type(error).__name__)
            )
    bad = any(item.status != "healthy" for item in components)
    return OverallHealthStatus(status="unhealthy" if bad else "healthy", components=components)


@router.get("/statistics", tags=["statistic"])
async def get_statistic(access: Annotated[Access, signed_in()], db: Db) -> Statistic:
    """Counts of projects and repositories, and the storage used."""

    principal = access.principal

    def count(connection: Connection) -> Statistic:
        public = repository_lists.count_visible(connection, principal, True)
        private = repository_lists.count_visible(connection, principal, False)
        result = Statistic(
            public_project_count=public[0],
            public_repo_count=public[1],
            private_project_count=private[0],
            private_repo_count=private[1],
        )
        if principal.sysadmin:
            result.total_project_count = public[0] + private[0]
            result.total_repo_count = public[1] + private[1]
            result.total_storage_consumption = quota_lists.total_used(connection)
        return result

    return await db.read(count)


def _whole(value: Any) -> Any:
    return max(1, round(value)) if isinstance(value, float) else value


# Items of Harbor for which there is nothing to set here. Clients count on each: harbor-cli ends with a panic
# where one is missing. What has been read can be written back.
_NOT_SET: dict[str, bool | str] = {
    **dict.fromkeys(("scan_all_policy", "uaa_endpoint", "uaa_client_id", "uaa_client_secret"), ""),
    **dict.fromkeys((f"http_authproxy_{name}" for name in ("endpoint", "tokenreview_endpoint")), ""),
    **dict.fromkeys((f"http_authproxy_{name}" for name in ("admin_groups", "admin_usernames")), ""),
    "http_authproxy_server_certificate": "",
    "http_authproxy_skip_search": False,
    "http_authproxy_verify_cert": True,
    "uaa_verify_cert": False,
    "ldap_group_attach_parallel": False,
}


def _shown(values: dict[str, Any], fixed: frozenset[str]) -> dict[str, ConfigItem]:
    found = {
        name: ConfigItem(value=_whole(values[name]), editable=name not in fixed)
        for name, item in ITEMS.items()
        if item.kind != "password"
    }
    return found | {name: ConfigItem(value=value, editable=False) for name, value in _NOT_SET.items()}


@router.get("/configurations", tags=["configure"])
async def get_configurations(
    access: Annotated[Access, system_access("configuration", "read")],
    configuration: Config,
) -> dict[str, ConfigItem]:
    """Every item but secrets."""
    return _shown(await configuration.reread(), configuration.fixed)


# Items that say who may sign in: the default source of identity is among them.
_WHO = frozenset({"auth_mode", "primary_auth_mode", "self_registration"})
_SOURCES = ("ldap_", "oidc_", "uaa_", "http_authproxy_")


@router.put("/configurations", tags=["configure"])
async def update_configurations(
    body: dict[str, bool | int | str | dict[str, Any] | None],
    access: Annotated[Access, system_access("configuration", "update")],
    configuration: Config,
) -> Response:
    """Change items; those that are not given stay."""
    values: dict[str, Any] = {}
    for name, value in body.items():
        # Terraform's provider always sends this one of old; /system/scanAll/schedule is in its place.
        if value is None or name == "scan_all_policy" or (name in _NOT_SET and value == _NOT_SET[name]):
            continue
        if isinstance(value, dict):
            raise ApiError(400, f"{name[:64]} cannot be an object")
        values[name] = value
    if any(name in _WHO or name.startswith(_SOURCES) for name in values):
        # Who says where users come from has the rights of all of them, as in `sources`.
        access.require_no_token()
    await configuration.set(values, also=access.trace)
    # Names only: values may be secrets.
    access.audited("update", "configuration", "configuration", f"set {', '.join(sorted(values))}")
    return Response()


@router.get("/internalconfig", tags=["configure"])
async def get_internalconfig(
    access: Annotated[Access, system_access("configuration", "read")],
    db: Db,
    configuration: Config,
    settings: SettingsDep,
) -> dict[str, ConfigItem]:
    """Every item but secrets, with those that the settings file decides."""
    fixed: dict[str, Any] = {
        "ext_endpoint": settings.external_url or "",
        "database_type": db.dialect,
        "registry_storage_provider_name": settings.storage.driver,
    }
    shown = _shown(await configuration.all(), configuration.fixed)
    shown.update({name: ConfigItem(value=value, editable=False) for name, value in fixed.items()})
    return shown


@router.get("/system/CVEAllowlist", tags=["SystemCVEAllowlist"])
async def get_system_cve_allowlist(access: Annotated[Access, signed_in()], db: Db) -> CVEAllowlist:
    """The allowlist of projects that have none of their own."""
    return allowlist_model(await db.read(lambda c: domain.allowlist(c, None)))


@router.put("/system/CVEAllowlist", tags=["SystemCVEAllowlist"])
async def put_system_cve_allowlist(
    body: CVEAllowlist, access: Annotated[Access, system_access("configuration", "update")]
) -> Response:
    """Replace it."""
    items = [item.cve_id for item in body.items or []]
    await access.write(lambda c: domain.set_allowlist(c, None, items, body.expires_at))
    access.audited("update", "configuration", "CVE allowlist", f"{len(items)} items")
    return Response()
