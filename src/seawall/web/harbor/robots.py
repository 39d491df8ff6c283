"""Robot accounts, and the list of permissions that they may be given."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Connection, Row

from seawall.access import access as decide
from seawall.access import members
from seawall.access import robots as domain
from seawall.access.rbac import ROBOT_PROJECT, ROBOT_SYSTEM
from seawall.access.service import AuthService
from seawall.access.trusted_issuers import TrustedIssuer as Issuer
from seawall.access.trusted_issuers import known, parse
from seawall.web.harbor.deps import Access, Id, ListingDep, checked, location, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Accounts, Config, Db
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.users import Permission

router = ApiRouter(tags=["robot"])


class RobotAccess(BaseModel):
    """One thing a robot may do. `effect` is always allow."""

    resource: str = Field(max_length=64)
    action: str = Field(max_length=32)
    effect: str | None = Field(None, max_length=16)


class RobotPermission(BaseModel):
    """What a robot may do in a namespace: `/` (kind system), a project's name or `*` (kind project)."""

    kind: str = Field(max_length=16)
    namespace: str = Field(max_length=255)
    access: list[RobotAccess] = Field(max_length=200)


class TrustedIssuer(BaseModel):
    """An issuer whose tokens stand for a robot's secret.

    `claims`: patterns by name of a claim; `*` stays within one part of a subject, `**` does not. `jwks`: the
    issuer's keys; without them they are found by discovery. `any_address`: a token shown as a password may
    come again from any address, not from its first only.
    """

    issuer: str = Field(max_length=1024)
    audience: str = Field(max_length=1024)
    claims: dict[str, str | list[str]] = Field(max_length=20)
    jwks: dict[str, Any] | None = None
    any_address: StrictBool = False


class Robot(BaseModel):
    """A robot account; `name` has the prefix, `secret` is never shown."""

    id: int | None = None
    name: str | None = Field(None, max_length=600)
    description: str | None = Field(None, max_length=1024)
    level: str | None = Field(None, max_length=16)
    duration: int | None = Field(None, ge=-1, lt=2**31)
    editable: bool = True
    disable: bool = False
    expires_at: int | None = None
    permissions: list[RobotPermission] | None = Field(None, max_length=1000)
    creator_type: str | None = None
    creator_ref: int | None = None
    creation_time: str | None = None
    update_time: str | None = None
    trusted_issuers: list[TrustedIssuer] | None = Field(None, max_length=20)


class RobotCreate(BaseModel):
    """A robot to be made. `duration` is in days: -1 never ends, 0 takes the configured default."""

    name: str = Field(max_length=255)
    description: str | None = Field(None, max_length=1024)
    secret: str | None = Field(None, max_length=128)
    level: str = Field(max_length=16)
    disable: bool = False
    duration: int | None = Field(None, ge=-1, lt=2**31)
    permissions: list[RobotPermission] = Field(max_length=1000)
    trusted_issuers: list[TrustedIssuer] | None = Field(None, max_length=20)


class RobotCreated(BaseModel):
    """A new robot, with its secret, this once."""

    id: int
    name: str
    secret: str
    creation_time: str | None
    expires_at: int


class RobotSec(BaseModel):
    """A secret; empty in a request: one is made."""

    secret: str | None = Field(None, max_length=128)


class Permissions(BaseModel):
    """What robots may be given."""

    system: list[Permission] | None = None
    project: list[Permission] | None = None


def _model(row: Row[Any], prefix: str, permissions: domain.Permissions) -> Robot:
    return Robot(
        id=row.id,
        name=prefix + row.name,
        description=row.description,
        level="project" if row.project_id is not None else "system",
        duration=row.duration,
        disable=row.disabled,
        expires_at=row.expires_at,
        permissions=[RobotPermission.model_validate(item) for item in permissions],
        creator_type=row.creator_type,
        creator_ref=row.creator_id,
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        trusted_issuers=[
            TrustedIssuer.model_validate(item.document()) for item in known(row.trusted_issuers)
        ],
    )


def _issuers(found: list[TrustedIssuer] | None) -> list[Issuer]:
    """Raises InvalidError."""
    return parse([item.model_dump() for item in found or []])


def _named(issuers: list[Issuer]) -> str:
    return ", ".join(f"{item.issuer} for {item.audience}" for item in issuers) or "no issuer"


def _stored(permissions: list[RobotPermission]) -> domain.Permissions:
    for item in permissions:
        if any(pair.effect not in (None, "", "allow") for pair in item.access):
            raise ApiError(400, "the effect of a permission is allow")
    return [
        {
            "kind": item.kind,
            "namespace": item.namespace,
            "access": [{"resource": pair.resource, "action": pair.action} for pair in item.access],
        }
        for item in permissions
    ]


def _auth(access: Access, auth: Accounts) -> AuthService:
    if not auth.required:
        raise ApiError(412, "authentication is off (auth.mode: none)")
    return auth


async def _project_of(access: Access, row: Row[Any]) -> decide.Project | None:
    return await access.project_of(row.project_id) if row.project_id is not None else None


async def _found(
    access: Access, db: Db, robot_id: int, action: str
) -> tuple[Row[Any], decide.Project | None]:
    """The robot and its project, when the caller may do `action` on robots there."""
    access.require_known()
    row = await db.point(lambda c: domain.find(c, robot_id))
    if row is None:
        # Ids are not secret, yet only who could see the robot learns that there is none.
        await access.require("robot", action)
        raise ApiError(404, f"robot {robot_id} not found")
    project = await _project_of(access, row)
    await access.require("robot", action, project)
    return row, project


@router.get("/robots")
async def list_robot(
    access: Annotated[Access, checked("robot", "list", "robot")], db: Db, auth: Accounts, page: ListingDep
) -> list[Robot]:
    """Robots of the system, or with `q=Level=project,ProjectID=<id>` of a project."""
    conditions = {item.key: item.value for item in page.conditions if item.operator == "eq"}
    level, project_id = conditions.get("level", "system"), conditions.get("project_id", "")
    access.require_known()
    prefix = await _auth(access, auth).robot_prefix()
    owner: int | None = None
    if level == "project":
        if not project_id.isascii() or not project_id.isdigit() or len(project_id) > 15:
            raise ApiError(400, "robots of a project are listed with q=Level=project,ProjectID=<id>")
        project = await db.point(lambda c: decide.project_by_id(c, int(project_id)))
        if project is None:
            if not access.principal.sysadmin:
                raise access.refusal()
            # An empty list, as in Harbor: Terraform's provider asks after it has deleted the project.
            access.decided = True
            page.total(0)
            return []
        await access.require("robot", "list", project)
        owner = project.id
    elif level == "system":
        await access.require("robot", "list")
    else:
        raise ApiError(400, "Level is system or project")
    total, found = await db.read(lambda c: domain.list_robots(c, owner, page))
    page.total(total)
    return [_model(row, prefix, permissions) for row, permissions in found]


@router.post("/robots", status_code=201)
async def create_robot(
    request: Request,
    response: Response,
    body: RobotCreate,
    access: Annotated[Access, checked("robot", "create", "robot")],
    db: Db,
    configuration: Config,
    auth: Accounts,
) -> RobotCreated:
    """Make a robot: of the system, or of the project that its permissions name."""
    access.require_known()
    access.require_no_token()
    auth = _auth(access, auth)
    project: decide.Project | None = None
    if body.level == "project":
        names = {item.namespace for item in body.permissions}
        if len(names) != 1:
            raise ApiError(400, "a robot of a project has permissions on exactly that project")
        name = names.pop()
        project = await db.point(lambda c: decide.project_by_name(c, name))
        if project is None:
            raise (
                ApiError(404, f"project {name[:255]} not found")
                if access.principal.sysadmin
                else access.refusal()
            )
    elif body.level != "system":
        raise ApiError(400, "level is system or project")
    await access.require("robot", "create", project)
    secret = body.secret or domain.new_secret()
    hashed = await auth.hash(secret)
    duration = body.duration or await configuration.get("robot_token_duration")
    wanted = domain.RobotRequest(
        body.name, body.description or "", body.disable, duration, _stored(body.permissions)
    )
    issuers = _issuers(body.trusted_issuers)

    def make(connection: Connection) -> Row[Any]:
        made = domain.create(connection, wanted, hashed, project=project, creator=access.principal)
        if issuers:
            domain.trust(connection, made.id, issuers, actor=access.principal)
        return made

    row = await access.write(make)
    full = await auth.robot_prefix() + row.name
    trusting = f", trusting {_named(issuers)}" if issuers else ""
    access.audited("create", "robot", full, f"create robot {full}{trusting}", project.id if project else None)
    response.headers.update(location(request, row.id))
    return RobotCreated(
        id=row.id,
        name=full,
        secret=secret,
        creation_time=timestamp(row.created_at),
        expires_at=row.expires_at,
    )


@router.get("/robots/{robot_id}")
async def get_robot_by_id(
    robot_id: Id, access: Annotated[Access, checked("robot", "read", "robot")], db: Db, auth: Accounts
) -> Robot:
    """One robot."""
    row, _ = await _found(access, db, robot_id, "read")
    permissions = await db.point(lambda c: domain.live(c, row.permissions))
    return _model(row, await _auth(access, auth).robot_prefix(), permissions)


@router.put("/robots/{robot_id}")
async def update_robot(
    robot_id: Id,
    body: Robot,
    access: Annotated[Access, checked("robot", "update", "robot")],
    db: Db,
    auth: Accounts,
) -> Response:
    """Change description, permissions, duration, or switch the robot off and on."""
    row, project = await _found(access, db, robot_id, "update")
    access.require_no_token()
    full = await _auth(access, auth).robot_prefix() + row.name
    if body.name is not None and body.name not in (full, row.name, row.name.rpartition("+")[2]):
        raise ApiError(400, "the name of a robot cannot be changed")
    if body.level is not None and body.level != ("project" if project else "system"):
        raise ApiError(400, "the level of a robot cannot be changed")
    wanted = domain.RobotRequest(
        row.name,
        row.description if body.description is None else body.description,
        body.disable,
        body.duration or row.duration,
        None if body.permissions is None else _stored(body.permissions),
    )
    issuers = _issuers(body.trusted_issuers)

    def change(connection: Connection) -> None:
        domain.change(connection, robot_id, wanted, project=project, actor=access.principal)
        if body.trusted_issuers is not None:
            domain.trust(connection, robot_id, issuers, actor=access.principal)

    await access.write(change)
    trusting = "" if body.trusted_issuers is None else f", trusting {_named(issuers)}"
    access.audited("update", "robot", full, f"update robot {full}{trusting}", row.project_id)
    return Response()


@router.patch("/robots/{robot_id}")
async def refresh_sec(
    robot_id: Id,
    body: RobotSec,
    access: Annotated[Access, checked("robot", "update", "robot")],
    db: Db,
    auth: Accounts,
) -> RobotSec:
    """Give a robot a new secret: the one given (not shown again), or one made here (shown this once)."""
    row, _project = await _found(access, db, robot_id, "update")
    access.require_no_token()
    auth = _auth(access, auth)
    secret = body.secret or domain.new_secret()
    hashed = await auth.hash(secret)
    await access.write(lambda c: domain.set_secret(c, robot_id, hashed, actor=access.principal))
    full = await auth.robot_prefix() + row.name
    access.audited("update", "robot", full, f"refresh secret of robot {full}", row.project_id)
    return RobotSec(secret=None if body.secret else secret)


@router.delete("/robots/{robot_id}")
async def delete_robot(
    robot_id: Id, access: Annotated[Access, checked("robot", "delete", "robot")], db: Db, auth: Accounts
) -> Response:
    """Remove a robot."""
    row, _project = await _found(access, db, robot_id, "delete")
    await access.write(lambda c: domain.remove(c, robot_id))
    full = await _auth(access, auth).robot_prefix() + row.name
    access.audited("delete", "robot", full, f"delete robot {full}", row.project_id)
    return Response()


@router.get("/permissions", tags=["permissions"])
async def get_permissions(access: Annotated[Access, signed_in()], db: Db) -> Permissions:
    """Permissions that robots may get: all for administrators, those of projects for project admins."""
    principal = access.principal
    if not principal.sysadmin:
        admin = principal.kind == "user" and await db.point(
            lambda c: members.administers_a_project(c, principal.id, principal.groups)
        )
        if not admin:
            raise access.refusal()
    project = [Permission(resource=r, action=a) for r, a in sorted(ROBOT_PROJECT)]
    system = [Permission(resource=r, action=a) for r, a in sorted(ROBOT_SYSTEM)]
    return Permissions(project=project, system=system if principal.sysadmin else None)
