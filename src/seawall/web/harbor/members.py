"""Members of projects, and user groups."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.access import members as domain
from seawall.access import users as user_domain
from seawall.access.members import Member
from seawall.access.rbac import ROLE_IDS, ROLE_NAMES
from seawall.access.robots import check_role
from seawall.web.harbor.deps import Access, Id, ListingDep, location, project_access, signed_in, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Accounts, Db, Ldap, Oidc
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter()


class UserEntity(BaseModel):
    """A user by id or name."""

    user_id: int | None = Field(None, ge=0, lt=2**53)
    username: str | None = Field(None, max_length=255)


class UserGroup(BaseModel):
    """A user group: type 1 LDAP, 2 HTTP, 3 OIDC."""

    id: int | None = Field(default=None, ge=0, lt=2**53)
    group_name: str | None = Field(default=None, max_length=255)
    group_type: int | None = Field(default=None, ge=0, le=3)
    ldap_group_dn: str | None = Field(default=None, max_length=512)


class ProjectMember(BaseModel):
    """A member to be added: a user or a group."""

    role_id: int
    member_user: UserEntity | None = None
    member_group: UserGroup | None = None


class RoleRequest(BaseModel):
    """A role by Harbor's number: 1 project admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest."""

    role_id: int


class ProjectMemberEntity(BaseModel):
    """A member."""

    id: int
    project_id: int
    entity_name: str
    role_name: str
    role_id: int
    entity_id: int
    entity_type: str


class UserGroupSearchItem(BaseModel):
    """A group as everyone who is signed in may find it."""

    id: int
    group_name: str
    group_type: int


def _model(found: Member) -> ProjectMemberEntity:
    return ProjectMemberEntity(
        id=found.id,
        project_id=found.project_id,
        entity_name=found.name,
        role_name=found.role,
        role_id=ROLE_IDS[found.role],
        entity_id=found.entity_id,
        entity_type=found.kind,
    )


def _role(role_id: int) -> str:
    if role_id not in ROLE_NAMES:
        raise ApiError(400, "role_id must be 1 to 5")
    return ROLE_NAMES[role_id]


def _whom(body: ProjectMember) -> tuple[UserEntity | None, UserGroup | None]:
    """Which of the two is meant: Terraform's provider sends both, one of them empty.

    The order is Harbor's, for a body that names several. Raises ApiError 400 where none is named.
    """
    user = body.member_user or UserEntity(user_id=None, username=None)
    group = body.member_group or UserGroup()
    if user.user_id:
        return user, None
    if group.id:
        return None, group
    if user.username:
        return user, None
    if group.ldap_group_dn or group.group_name:
        return None, group
    raise ApiError(400, "at least one of member_user or member_group must be provided")


@router.get("/projects/{project_name_or_id}/members", tags=["member"])
async def list_project_members(
    access: Annotated[Access, project_access("member", "list")],
    db: Db,
    page: ListingDep,
    entityname: Annotated[str | None, Query(max_length=255)] = None,
) -> list[ProjectMemberEntity]:
    """Users and groups of the project; `entityname` matches part of the name."""
    project_id = access.project.id
    total, result = await db.read(lambda c: domain.list_members(c, project_id, entityname, page))
    page.total(total)
    return [_model(item) for item in result]


@router.post("/projects/{project_name_or_id}/members", tags=["member"], status_code=201)
async def create_project_member(
    request: Request,
    body: ProjectMember,
    access: Annotated[Access, project_access("member", "create")],
    auth: Accounts,
    directory: Ldap,
    provider: Oidc,
) -> Response:
    """Add a user (by id or name) or a group (by id, LDAP DN, or name and type).

    A group that is new here is one that users come with in the way they sign in now; an LDAP group is called
    as the directory calls it. Who may make groups chooses freely.
    """
    project, role = access.project, _role(body.role_id)
    check_role(access.principal, project.name, project.created_at, role)
    user, group = _whom(body)
    if user is not None and not user.user_id and user.username and auth.required:
        # A user of the directory who never signed in here can be a member too.
        await directory.ensure_user(user.username, also=access.trace)
    kind, name, dn = 0, "", ""
    if group is not None and not group.id:
        kind = group.group_type or (domain.LDAP if group.ldap_group_dn else domain.OIDC)
        name, dn = group.group_name or "", group.ldap_group_dn or ""
        free = not auth.required or await access.allowed("user-group", "create")
        if kind == domain.LDAP and dn and auth.required:
            # Others choose groups by name: a project's admin must not give his own one the name of another.
            name = await directory.checked_group(dn, name, free=free)
        if kind == domain.LDAP:
            free = free or await directory.enabled()
        elif kind == domain.OIDC:
            free = free or bool(await provider.providers())

    def add_member(connection: Connection) -> tuple[int, str]:
        if user is not None:
            found = user_domain.find(connection, user.user_id, user.username or "")
            if found is None:
                # As in Harbor: a name is looked for, an id is a wrong value.
                raise ApiError(400 if user.user_id else 404, "no such user")
            return domain.add(connection, project.id, role, user_id=found[0]), found[1]
        assert group is not None
        if group.id:
            group_id = domain.group(connection, group.id).id
        else:
            known = domain.find_group(connection, name, kind, dn)
            if known is None and not free:
                raise ApiError(400, "no such group, and nobody signs in with groups of that type")
            group_id = known or domain.create_group(connection, name, kind, dn)
        return (
            domain.add(connection, project.id, role, group_id=group_id),
            domain.group(connection, group_id).name,
        )

    made, name = await access.write(add_member)
    access.audited("create", "member", project.name, f"add {name} as {role} to {project.name}", project.id)
    return Response(status_code=201, headers=location(request, made))


@router.get("/projects/{project_name_or_id}/members/{mid}", tags=["member"])
async def get_project_member(
    mid: Id, access: Annotated[Access, project_access("member", "read")], db: Db
) -> ProjectMemberEntity:
    """One member."""
    return _model(await db.read(lambda c: domain.member(c, access.project.id, mid)))


@router.put("/projects/{project_name_or_id}/members/{mid}", tags=["member"])
async def update_project_member(
    mid: Id, body: RoleRequest, access: Annotated[Access, project_access("member", "update")]
) -> Response:
    """Give a member another role."""
    project, role = access.project, _role(body.role_id)
    check_role(access.principal, project.name, project.created_at, role)

    def change_role(connection: Connection) -> str:
        domain.change(connection, project.id, mid, role)
        return domain.member(connection, project.id, mid).name

    name = await access.write(change_role)
    access.audited("update", "member", project.name, f"make {name} {role} of {project.name}", project.id)
    return Response()


@router.delete("/projects/{project_name_or_id}/members/{mid}", tags=["member"])
async def delete_project_member(
    mid: Id, access: Annotated[Access, project_access("member", "delete")]
) -> Response:
    """Take a member away."""
    project = access.project

    def remove_member(connection: Connection) -> str:
        name = domain.member(connection, project.id, mid).name
        domain.remove(connection, project.id, mid)
        return name

    name = await access.write(remove_member)
    access.audited("delete", "member", project.name, f"remove {name} from {project.name}", project.id)
    return Response()


def _group(row: domain.Group) -> UserGroup:
    return UserGroup(
        id=row.id, group_name=row.name, group_type=row.type, ldap_group_dn=row.ldap_group_dn or None
    )


@router.get("/usergroups", tags=["usergroup"])
async def list_user_groups(
    access: Annotated[Access, system_access("user-group", "list")],
    db: Db,
    page: ListingDep,
    ldap_group_dn: Annotated[str | None, Query(max_length=512)] = None,
    group_name: Annotated[str | None, Query(max_length=255)] = None,
) -> list[UserGroup]:
    """User groups; `group_name` matches part of the name."""
    total, result = await db.read(lambda c: domain.list_groups(c, group_name, ldap_group_dn, page))
    page.total(total)
    return [_group(item) for item in result]


@router.post("/usergroups", tags=["usergroup"], status_code=201)
async def create_user_group(
    request: Request,
    body: UserGroup,
    access: Annotated[Access, system_access("user-group", "create")],
    auth: Accounts,
    directory: Ldap,
) -> Response:
    """Add a group; an LDAP group must exist in the directory when one is configured."""
    name, kind, dn = body.group_name or "", body.group_type or 0, body.ldap_group_dn or ""
    if kind == domain.LDAP and dn and auth.required:
        name = await directory.checked_group(dn, name)
    made = await access.write(lambda c: domain.create_group(c, name, kind, dn))
    access.audited("create", "user_group", name or dn, f"create user group {name or dn}")
    return Response(status_code=201, headers=location(request, made))


@router.get("/usergroups/search", tags=["usergroup"])
async def search_user_groups(
    access: Annotated[Access, signed_in()],
    db: Db,
    page: ListingDep,
    groupname: Annotated[str, Query(max_length=255)],
) -> list[UserGroupSearchItem]:
    """Groups whose name contains `groupname`."""
    total, result = await db.read(lambda c: domain.search_groups(c, groupname, page))
    page.total(total)
    return [UserGroupSearchItem(id=item.id, group_name=item.name, group_type=item.type) for item in result]


@router.get("/usergroups/{group_id}", tags=["usergroup"])
async def get_user_group(
    group_id: Id, access: Annotated[Access, system_access("user-group", "read")], db: Db
) -> UserGroup:
    """One group."""
    return _group(await db.read(lambda c: domain.group(c, group_id)))


@router.put("/usergroups/{group_id}", tags=["usergroup"])
async def update_user_group(
    group_id: Id, body: UserGroup, access: Annotated[Access, system_access("user-group", "update")]
) -> Response:
    """Change a group's name."""
    name = body.group_name or ""
    await access.write(lambda c: domain.rename_group(c, group_id, name))
    access.audited("update", "user_group", name, f"rename user group {group_id} to {name}")
    return Response()


@router.delete("/usergroups/{group_id}", tags=["usergroup"])
async def delete_user_group(
    group_id: Id, access: Annotated[Access, system_access("user-group", "delete")]
) -> Response:
    """Remove a group, and with it the roles it gave."""

    def remove_group(connection: Connection) -> str:
        name = domain.group(connection, group_id).name
        domain.remove_group(connection, group_id)
        return name

    name = await access.write(remove_group)
    access.audited("delete", "user_group", name, f"delete user group {name}")
    return Response()
