"""Users: list, make, change, remove; the caller's own account and permissions."""

from __future__ import annotations

import posixpath
import re
import secrets
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.access import access as decide
from seawall.access import rbac
from seawall.access import users as domain
from seawall.access.passwords import check_password
from seawall.access.service import AuthService
from seawall.access.users import UserRow
from seawall.infra.db.listing import Condition
from seawall.web.harbor.deps import (
    Access,
    Id,
    ListingDep,
    checked,
    client_address,
    location,
    signed_in,
    system_access,
    timestamp,
)
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Accounts, Config, Db, ErasureDep, Keys, SessionsDep
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.sessions import SESSION_COOKIE

router = ApiRouter(tags=["user"])


class OIDCUserInfo(BaseModel):
    """How a user is known to the OIDC provider. `secret` is the CLI secret, shown to its user only."""

    id: int
    user_id: int
    subiss: str
    secret: str | None = None
    creation_time: str | None
    update_time: str | None


class UserResp(BaseModel):
    """A user; texts that are empty are left out, as in Harbor."""

    user_id: int
    username: str
    email: str | None = None
    realname: str | None = None
    comment: str | None = None
    sysadmin_flag: bool = False
    admin_role_in_auth: bool = False
    oidc_user_meta: OIDCUserInfo | None = None
    # Seawall's own: the session is for setting up the second factor that is required, and for nothing else.
    second_factor_needed: bool | None = None
    creation_time: str | None
    update_time: str | None


class UserCreationReq(BaseModel):
    """A user to be made."""

    username: str = Field(max_length=255)
    password: str = Field(max_length=255)
    email: str | None = Field(None, max_length=255)
    realname: str = Field("", max_length=255)
    comment: str = Field("", max_length=255)


class UserProfile(BaseModel):
    """What a user may change of itself."""

    email: str | None = Field(None, max_length=255)
    realname: str = Field("", max_length=255)
    comment: str = Field("", max_length=255)


class UserSearchRespItem(BaseModel):
    """A user as everyone who is signed in may find it."""

    user_id: int
    username: str


class UserSysAdminFlag(BaseModel):
    """System administration on or off."""

    # Clients in Go, such as the Terraform provider, leave false out.
    sysadmin_flag: bool = False


class PasswordReq(BaseModel):
    """A new password; the old one too when it is the caller's own."""

    old_password: str | None = Field(None, max_length=256)
    new_password: str = Field(max_length=256)


class OIDCCliSecretReq(BaseModel):
    """The CLI secret; empty: one is made."""

    secret: str | None = Field(None, max_length=256)


class Permission(BaseModel):
    """One thing the caller may do."""

    resource: str
    action: str


def user_model(row: UserRow) -> UserResp:
    """The API's shape of a user."""
    return UserResp(
        user_id=row.id,
        username=row.username,
        email=row.email or None,
        realname=row.realname or None,
        comment=row.comment or None,
        sysadmin_flag=row.sysadmin,
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


@router.get("/users")
async def list_users(
    access: Annotated[Access, system_access("user", "list")],
    db: Db,
    page: ListingDep,
    username: Annotated[str | None, Query(max_length=255)] = None,
    email: Annotated[str | None, Query(max_length=255)] = None,
) -> list[UserResp]:
    """Users, by name. `username` and `email` match a part; Harbor has them too, from before `q`."""
    for key, part in (("username", username), ("email", email)):
        if part:
            page.conditions.append(Condition(key, "fuzzy", (part,)))
    total, found = await db.read(lambda c: domain.list_users(c, page))
    page.total(total)
    return [user_model(row) for row in found]


@router.post("/users", status_code=201)
async def create_user(
    request: Request,
    body: UserCreationReq,
    access: Annotated[Access, checked("user", "create", "system")],
    configuration: Config,
    auth: Accounts,
) -> Response:
    """Make a local user: administrators always, everyone when self registration is on."""
    if not await configuration.get("self_registration") or access.principal.known:
        await access.require("user", "create")
    access.decided = True
    access.require_no_token()
    if await configuration.get("auth_mode") != "db_auth":
        raise ApiError(403, "users come from the identity provider and cannot be made here")
    auth = _auth(access, auth)
    hashed = await auth.hash(body.password)

    def create_user(connection: Connection) -> int:
        return domain.create(
            connection,
            body.username,
            hashed,
            email=body.email,
            realname=body.realname,
            comment=body.comment,
        )

    made = await access.write(create_user)
    access.audited("create", "user", body.username, f"create user {body.username}")
    return Response(status_code=201, headers=location(request, made))


def _auth(access: Access, auth: Accounts) -> AuthService:
    if not auth.required:
        raise ApiError(412, "authentication is off (auth.mode: none)")
    return auth


@router.get("/users/current")
async def get_current_user_info(access: Annotated[Access, signed_in()], db: Db, keys: Keys) -> UserResp:
    """The caller."""
    principal = access.principal
    if principal.kind != "user" or not principal.id:
        raise ApiError(412, "the caller is not a user")

    def read_self(connection: Connection) -> tuple[UserRow | None, object]:
        return domain.by_id(connection, principal.id), domain.oidc_of(connection, principal.id)

    row, oidc = await db.read(read_self)
    if row is None:
        raise ApiError(404, "user not found")
    model = user_model(row)
    model.admin_role_in_auth = principal.sysadmin and not row.sysadmin
    if principal.limits is not None and "enrol" in principal.limits.scopes:
        model.second_factor_needed = True
    # A token must not give what outlives it.
    model.oidc_user_meta = _oidc_model(access, keys, oidc, with_secret=principal.limits is None)
    return model


def _oidc_model(access: Access, keys: Keys, row: Any, *, with_secret: bool) -> OIDCUserInfo | None:
    if row is None:
        return None
    secret = keys.decrypt("cli-secret", row.secret).decode() if with_secret else None
    return OIDCUserInfo(
        id=row.user_id,
        user_id=row.user_id,
        subiss=row.subject + row.issuer,
        secret=secret,
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


@router.get("/users/current/permissions")
async def get_current_user_permissions(
    access: Annotated[Access, signed_in()],
    db: Db,
    scope: Annotated[str | None, Query(max_length=64)] = None,
    relative: bool = False,
) -> list[Permission]:
    """What the caller may do in `scope`: `/project/<id>`, or (none) the system.

    `relative` names resources by their way from `scope`, which may be one of them (`/project/1/repository`).
    """
    principal = access.principal
    if not scope or scope in ("/", "/system"):
        allowed = rbac.ROBOT_SYSTEM
        pairs = sorted(pair for pair in allowed if decide.may_system(principal, *pair))
        return [Permission(resource=f"/{r}" if not relative else r, action=a) for r, a in pairs]
    match = re.fullmatch(r"/project/(\d{1,15})(/[a-z-]*)*", scope)
    if match is None:
        raise ApiError(400, "scope must have the form /project/<id>")
    project_id = int(match[1])

    def allowed_pairs(connection: Connection) -> list[tuple[str, str]]:
        project = decide.project_by_id(connection, project_id)
        if project is None:
            return []
        everything = frozenset().union(*rbac.ROLES.values(), rbac.PUBLIC)
        own = decide.roles(connection, principal, project.id)
        return sorted(pair for pair in everything if decide.allows(principal, project, lambda: own, *pair))

    base = f"/project/{project_id}"
    result = []
    for resource, action in await db.read(allowed_pairs):
        name = base if resource == "self" else f"{base}/{resource}"
        if relative:
            name = posixpath.relpath(name, scope)
        result.append(Permission(resource=name, action=action))
    return result


@router.get("/users/search")
async def search_users(
    access: Annotated[Access, signed_in()],
    db: Db,
    page: ListingDep,
    username: Annotated[str, Query(max_length=255)],
) -> list[UserSearchRespItem]:
    """Users whose name contains `username`."""

    total, found = await db.read(lambda c: domain.search(c, username, page))
    page.total(total)
    return [UserSearchRespItem(user_id=user_id, username=name) for user_id, name in found]


def _is_self(access: Access, user_id: int) -> bool:
    return access.principal.kind == "user" and access.principal.id == user_id


async def _found(access: Access, db: Db, user_id: int, action: str) -> UserRow:
    """The user, when it is the caller itself or the caller may do `action` on users."""
    access.require_known()
    if action == "update":
        access.require_no_token()
    if not _is_self(access, user_id):
        await access.require("user", action)
    row = await db.point(lambda c: domain.by_id(c, user_id))
    if row is None:
        raise ApiError(404, f"user {user_id} not found")
    # A right over users is none over those who have every right.
    if action != "read" and row.sysadmin and not access.principal.sysadmin and not _is_self(access, user_id):
        raise access.refusal()
    return row


@router.get("/users/{user_id}")
async def get_user(
    user_id: Id, access: Annotated[Access, checked("user", "read", "user")], db: Db, keys: Keys
) -> UserResp:
    """One user: oneself, or any for administrators."""
    row = await _found(access, db, user_id, "read")
    model = user_model(row)
    oidc = await db.read(lambda c: domain.oidc_of(c, user_id))
    own = _is_self(access, user_id) and access.principal.limits is None
    model.oidc_user_meta = _oidc_model(access, keys, oidc, with_secret=own)
    return model


async def _own_profile(access: Access, db: Db, user_id: int) -> None:
    if not await db.read(lambda c: domain.is_local(c, user_id)):
        raise ApiError(403, "the account is kept by the identity provider")


@router.put("/users/{user_id}")
async def update_user_profile(
    user_id: Id, body: UserProfile, access: Annotated[Access, checked("user", "update", "user")], db: Db
) -> Response:
    """Change email, real name and comment."""
    row = await _found(access, db, user_id, "update")
    await _own_profile(access, db, user_id)
    await access.write(lambda c: domain.update_profile(c, user_id, body.email, body.realname, body.comment))
    access.audited("update", "user", row.username, f"update profile of {row.username}")
    return Response()


@router.delete("/users/{user_id}")
async def delete_user(
    user_id: Id,
    access: Annotated[Access, system_access("user", "delete")],
    db: Db,
    sessions: SessionsDep,
    erasure: ErasureDep,
) -> Response:
    """Remove a user; you cannot remove yourself."""
    row = await _found(access, db, user_id, "delete")
    if _is_self(access, user_id):
        raise ApiError(403, "you cannot remove yourself")
    await sessions.delete_user(user_id, also=access.trace)

    def remove_user(connection: Connection) -> None:
        domain.remove(connection, user_id)
        erasure.order(connection, row.username)

    await access.write(remove_user)
    shown = erasure.shown(row.username)
    access.audited("delete", "user", shown, f"delete user {shown}")
    return Response()


@router.put("/users/{user_id}/sysadmin")
async def set_user_sys_admin(
    user_id: Id,
    body: UserSysAdminFlag,
    access: Annotated[Access, system_access("user", "update")],
    db: Db,
    sessions: SessionsDep,
) -> Response:
    """Give or take system administration."""
    # Otherwise a robot that may update users could make itself an administrator's helper.
    if not access.principal.sysadmin:
        raise access.refusal()
    row = await _found(access, db, user_id, "update")
    await access.write(lambda c: domain.set_sysadmin(c, user_id, body.sysadmin_flag))
    # Rights changed: sessions that began with the old ones end.
    # Who gives the right up signs in again: the session may have it from a group.
    spared = access.request.cookies.get(SESSION_COOKIE) if body.sysadmin_flag else None
    await sessions.delete_user(user_id, keep=spared, also=access.trace)
    verb = "give" if body.sysadmin_flag else "take"
    access.audited("update", "user", row.username, f"{verb} system administration: {row.username}")
    return Response()


@router.put("/users/{user_id}/password")
async def update_user_password(
    user_id: Id,
    body: PasswordReq,
    access: Annotated[Access, checked("user", "update", "user")],
    db: Db,
    sessions: SessionsDep,
    auth: Accounts,
) -> Response:
    """Change a password: one's own with the old one, any other's as an administrator."""
    row = await _found(access, db, user_id, "update")
    await _own_profile(access, db, user_id)
    auth = _auth(access, auth)
    if _is_self(access, user_id):
        address = client_address(access.request)
        old = await auth.authenticate(row.username, body.old_password or "", address, programs=False)
        if old is None:
            raise ApiError(403, "the old password is wrong")
        if body.old_password == body.new_password:
            raise ApiError(400, "the new password is the old one")
    elif not access.principal.sysadmin:
        # Who sets a password can sign in with it, so this would give a robot the rights of any user.
        raise access.refusal()
    hashed = await auth.hash(body.new_password)
    await access.write(lambda c: domain.set_hash(c, user_id, hashed))
    await sessions.delete_user(user_id, keep=access.request.cookies.get(SESSION_COOKIE), also=access.trace)
    access.audited("update", "user", row.username, f"change password of {row.username}")
    return Response()


@router.put("/users/{user_id}/cli_secret")
async def set_cli_secret(
    user_id: Id,
    body: OIDCCliSecretReq,
    access: Annotated[Access, checked("user", "update", "user")],
    db: Db,
    keys: Keys,
    auth: Accounts,
) -> Response:
    """Set the secret that an OIDC user sends instead of a password, in docker login and Basic."""
    row = await _found(access, db, user_id, "update")
    if not _is_self(access, user_id) and not access.principal.sysadmin:
        raise access.refusal()
    if await db.read(lambda c: domain.oidc_of(c, user_id)) is None:
        raise ApiError(412, "the user does not sign in through OIDC")
    secret = body.secret or secrets.token_urlsafe(24) + "Aa1"
    _auth(access, auth)
    check_password(secret)
    sealed = keys.encrypt("cli-secret", secret.encode())
    await access.write(lambda c: domain.set_cli_secret(c, user_id, sealed))
    access.audited("update", "user", row.username, f"set CLI secret of {row.username}")
    return Response()
