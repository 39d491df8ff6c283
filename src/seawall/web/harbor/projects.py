"""Projects: list, make, change, delete, metadata, summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.access import access as decide
from seawall.access import members as member_domain
from seawall.access import projects as domain
from seawall.access import users
from seawall.access.access import Project as ProjectRow
from seawall.access.access import project_by_name
from seawall.access.rbac import ROLE_IDS, strongest
from seawall.features.replication.registries import registry_row
from seawall.features.retention.policies import policy_ids
from seawall.kernel.errors import ConflictError, InvalidError
from seawall.kernel.names import check_project_name
from seawall.registry import projects as content
from seawall.registry import quota_lists, virtual
from seawall.web.harbor.deps import Access, ListingDep, anyone, location, project_access, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Config, Db, Replicating
from seawall.web.harbor.replication.models import Registry
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["project"])
_VIRTUAL_REFUSED = "Only system admin can make or change a virtual project"


class ProjectMetadata(BaseModel):
    """What governs a project; every value is text, as in Harbor."""

    public: str | None = None
    enable_content_trust: str | None = None
    enable_content_trust_cosign: str | None = None
    prevent_vul: str | None = None
    severity: str | None = None
    auto_scan: str | None = None
    auto_sbom_generation: str | None = None
    reuse_sys_cve_allowlist: str | None = None
    retention_id: str | None = None
    proxy_speed_kb: str | None = None
    max_upstream_conn: str | None = None
    proxy_cache_local_on_not_found: str | None = None
    proxy_cache_warm: str | None = None
    proxy_referrer_api: str | None = None
    proxy_cache_filter_pattern: str | None = None
    proxy_cache_filter_kind: str | None = None
    virtual_members: str | None = None
    virtual_order: str | None = None


class CVEAllowlistItem(BaseModel):
    """One vulnerability."""

    cve_id: str = Field(max_length=64)


class CVEAllowlist(BaseModel):
    """Vulnerabilities that do not count; `expires_at` in Unix seconds."""

    id: int | None = None
    project_id: int | None = None
    expires_at: int | None = Field(None, ge=0, lt=2**53)
    items: list[CVEAllowlistItem] | None = None
    creation_time: str | None = None
    update_time: str | None = None


class ProjectReq(BaseModel):
    """A project to be made or changed."""

    project_name: str | None = Field(None, max_length=255)
    public: bool | None = None
    metadata: ProjectMetadata | None = None
    cve_allowlist: CVEAllowlist | None = None
    storage_limit: int | None = Field(None, ge=-(2**53), lt=2**53)
    registry_id: int | None = Field(None, ge=0, lt=2**53)


class Project(BaseModel):
    """A project."""

    project_id: int
    name: str
    owner_id: int
    owner_name: str
    registry_id: int | None = None
    creation_time: str | None
    update_time: str | None
    deleted: bool = False
    current_user_role_id: int | None = None
    current_user_role_ids: list[int] | None = None
    repo_count: int | None = None
    metadata: ProjectMetadata
    cve_allowlist: CVEAllowlist | None = None


class ResourceList(BaseModel):
    """Amounts by resource; storage in bytes, -1 for no limit."""

    storage: int


class ProjectSummaryQuota(BaseModel):
    """What a project may use and uses."""

    hard: ResourceList
    used: ResourceList


class ProjectSummary(BaseModel):
    """Counts of a project."""

    repo_count: int
    project_admin_count: int | None = None
    maintainer_count: int | None = None
    developer_count: int | None = None
    guest_count: int | None = None
    limited_guest_count: int | None = None
    quota: ProjectSummaryQuota | None = None
    registry: Registry | None = None


class ProjectDeletable(BaseModel):
    """Whether a project can be deleted."""

    deletable: bool
    message: str | None = None


def allowlist_model(found: dict[str, Any]) -> CVEAllowlist:
    """The API's shape of an allowlist."""
    return CVEAllowlist(
        id=found["id"],
        project_id=found["project_id"],
        expires_at=found["expires_at"],
        items=[CVEAllowlistItem(cve_id=item) for item in found["items"]],
        creation_time=timestamp(found["created_at"]),
        update_time=timestamp(found["updated_at"]),
    )


def project_models(
    connection: Connection, access: Access, found: list[ProjectRow], detail: bool = True
) -> list[Project]:
    """The API's shape of projects; without `detail`, not their allowlists."""
    result = []
    ids = [project.id for project in found]
    counts = content.count_repositories(connection, ids)
    retention = policy_ids(connection, ids)
    for item in domain.details(connection, found):
        project = item.project
        held = decide.roles(connection, access.principal, project.id)
        best = strongest(held)
        result.append(
            Project(
                project_id=project.id,
                name=project.name,
                owner_id=project.owner_id or 0,
                owner_name=item.owner_name,
                registry_id=project.registry_id,
                creation_time=timestamp(project.created_at),
                update_time=timestamp(project.updated_at),
                current_user_role_id=ROLE_IDS[best] if best else 1 if access.principal.sysadmin else None,
                current_user_role_ids=sorted(ROLE_IDS[role] for role in held) or None,
                repo_count=counts.get(project.id, 0),
                metadata=ProjectMetadata.model_validate(shown(item.metadata, retention.get(project.id))),
                cve_allowlist=allowlist_model(domain.allowlist(connection, project.id)) if detail else None,
            )
        )
    return result


@router.get("/projects")
async def list_projects(
    access: Annotated[Access, anyone()],
    db: Db,
    page: ListingDep,
    name: Annotated[str | None, Query(max_length=255)] = None,
    public: bool | None = None,
    owner: Annotated[str | None, Query(max_length=255)] = None,
    with_detail: bool = True,
) -> list[Project]:
    """Projects that the caller may see. `name` matches part of it, `public` false those that are private."""

    def read_projects(connection: Connection) -> tuple[int, list[Project]]:
        total, rows = domain.list_projects(
            connection, access.principal, page, name_part=name, public=public, owner=owner
        )
        return total, project_models(connection, access, rows, with_detail)

    total, found = await db.read(read_projects)
    page.total(total)
    return found


@router.head("/projects")
async def head_project(
    access: Annotated[Access, anyone()], db: Db, project_name: Annotated[str, Query(max_length=255)]
) -> Response:
    """Whether a project of that name exists."""
    access.require_known()
    found = await db.point(lambda c: project_by_name(c, project_name))
    return Response(status_code=200 if found else 404)


@router.post("/projects", status_code=201)
async def create_project(
    request: Request,
    body: ProjectReq,
    access: Annotated[Access, signed_in()],
    configuration: Config,
    replication: Replicating,
    x_resource_name_in_location: Annotated[bool, Header()] = False,
) -> Response:
    """Make a project; the caller becomes its project admin."""
    principal = access.principal
    access.require_all_projects()
    name = check_project_name(body.project_name or "")
    everyone = await configuration.get("project_creation_restriction") == "everyone"
    # The words of both refusals are Harbor's, for scripts that look for them.
    if (principal.kind == "robot" or not everyone) and not await access.allowed("project", "create"):
        raise ApiError(403, "Only system admin can create project")
    if body.registry_id and not principal.sysadmin:
        raise ApiError(403, "Only system admin can create proxy cache project")
    if body.registry_id:
        await replication.registries.get(body.registry_id)
    metadata = body.metadata.model_dump(exclude_none=True) if body.metadata else {}
    if virtual.MEMBERS in metadata and not principal.sysadmin:
        raise ApiError(403, _VIRTUAL_REFUSED)
    if metadata.pop("retention_id", None):
        raise ApiError(400, "a new project has no retention_id; give it a policy at /retentions")
    if body.public is not None:
        metadata.setdefault("public", str(body.public).lower())
    storage = await content.default_quota(configuration.get)()
    if body.storage_limit and principal.sysadmin and await configuration.get("quota_per_project_enable"):
        storage = body.storage_limit

    def make_project(connection: Connection) -> int:
        owner: int | None = principal.id or None
        if principal.kind == "robot" or owner is None:
            owner = users.first_administrator(connection)
        made = content.create(
            connection,
            name,
            owner=owner,
            metadata=metadata,
            storage=storage,
            registry_id=body.registry_id or None,
        )
        _set_allowlist(connection, made, body.cve_allowlist)
        return made

    made = await access.write(make_project)
    access.audited("create", "project", name, f"create project {name}", made)
    return Response(status_code=201, headers=location(request, name if x_resource_name_in_location else made))


def check_virtual(
    connection: Connection, access: Access, project: ProjectRow, values: Mapping[str, str | None]
) -> None:
    """Raise ApiError where somebody else than a system administrator changes what a project stands for.

    By a list a project's administrator would see which names other projects have. A value of None goes.
    """
    wanted = {name: value for name, value in values.items() if name in (virtual.MEMBERS, virtual.ORDER)}
    if wanted and not access.principal.sysadmin:
        now = domain.settings_of(connection, project.id)
        if any(now.get(name) != value for name, value in wanted.items()):
            raise ApiError(403, _VIRTUAL_REFUSED)


def _set_allowlist(connection: Connection, project_id: int, given: CVEAllowlist | None) -> None:
    if given is not None and given.items is not None:
        items = [item.cve_id for item in given.items]
        domain.set_allowlist(connection, project_id, items, given.expires_at)


@router.get("/projects/{project_name_or_id}")
async def get_project(access: Annotated[Access, project_access("self", "read")], db: Db) -> Project:
    """One project."""
    return (await db.read(lambda c: project_models(c, access, [access.project])))[0]


@router.put("/projects/{project_name_or_id}")
async def update_project(
    body: ProjectReq, access: Annotated[Access, project_access("self", "update")]
) -> Response:
    """Change metadata and CVE allowlist; what is not given stays."""
    project = access.project
    metadata = body.metadata.model_dump(exclude_none=True) if body.metadata else {}
    retention = metadata.pop("retention_id", None)
    allowlist = body.cve_allowlist
    if allowlist is not None and allowlist.project_id not in (None, 0, project.id):
        raise ApiError(400, f"project_id in cve_allowlist must be {project.id}")

    def change_project(connection: Connection) -> None:
        if retention is not None and retention != str(policy_ids(connection, [project.id]).get(project.id)):
            raise InvalidError("retention_id can be left out, or be that of the project's policy")
        check_virtual(connection, access, project, metadata)
        virtual.set_metadata(connection, project, metadata)
        _set_allowlist(connection, project.id, allowlist)

    await access.write(change_project)
    access.audited("update", "project", project.name, f"update project {project.name}", project.id)
    return Response()


@router.delete("/projects/{project_name_or_id}")
async def delete_project(access: Annotated[Access, project_access("self", "delete")]) -> Response:
    """Delete an empty project."""
    project = access.project
    try:
        await access.write(lambda c: content.remove(c, project))
    except ConflictError as error:
        raise ApiError(412, str(error)) from None
    access.audited("delete", "project", project.name, f"delete project {project.name}", project.id)
    return Response()


@router.get("/projects/{project_name_or_id}/_deletable")
async def get_project_deletable(
    access: Annotated[Access, project_access("self", "delete")],
    db: Db,
) -> ProjectDeletable:
    """Whether the project can be deleted, and if not, why."""
    reason = await db.read(lambda c: content.not_deletable(c, access.project))
    return ProjectDeletable(deletable=reason is None, message=reason)


@router.get("/projects/{project_name_or_id}/summary")
async def get_project_summary(
    access: Annotated[Access, project_access("self", "read")], db: Db
) -> ProjectSummary:
    """Counts of repositories, members by role (for those who may list members), and the quota."""
    project = access.project
    members = await access.allowed("member", "list", project)
    quota = await access.allowed("quota", "read", project)

    def summarize(connection: Connection) -> ProjectSummary:
        counted = content.count_repositories(connection, [project.id])
        summary = ProjectSummary(repo_count=counted.get(project.id, 0))
        if members:
            counts = member_domain.count_by_role(connection, project.id)
            summary.project_admin_count = counts.get("projectAdmin", 0)
            summary.maintainer_count = counts.get("maintainer", 0)
            summary.developer_count = counts.get("developer", 0)
            summary.guest_count = counts.get("guest", 0)
            summary.limited_guest_count = counts.get("limitedGuest", 0)
        if quota:
            row = quota_lists.quota_of(connection, project.id)
            if row is not None:
                summary.quota = ProjectSummaryQuota(
                    hard=ResourceList(storage=row.hard_storage), used=ResourceList(storage=row.used_storage)
                )
        if project.registry_id is not None:
            row = registry_row(connection, project.registry_id)
            if row is not None:
                summary.registry = Registry(
                    id=row.id, name=row.name, type=row.type, url=row.url, status=row.status
                )
        return summary

    return await db.read(summarize)


def shown(metadata: dict[str, str], retention_id: int | None) -> dict[str, str]:
    """A project's metadata with the id of its retention policy, as Harbor shows it."""
    return metadata if retention_id is None else metadata | {"retention_id": str(retention_id)}
