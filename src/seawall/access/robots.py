"""Robot accounts: credentials of programs, with permissions of their own and an end."""

from __future__ import annotations

import math
import re
import secrets
import string
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from seawall.access import access
from seawall.access.principal import Principal
from seawall.access.rbac import ROBOT_PROJECT, ROBOT_SYSTEM, ROLES
from seawall.access.tables import projects, robots
from seawall.access.trusted_issuers import TrustedIssuer, stored
from seawall.infra.db.listing import Field, Fields, Page
from seawall.kernel.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
Permissions = list[dict[str, Any]]
# `creator_type` of a robot that a scan made.
_SCANNER = "scanner"


@dataclass(frozen=True, slots=True)
class RobotRequest:
    """What a robot is to be. `duration` is in days, -1 for no end; `permissions` as the table stores them."""

    name: str
    description: str
    disabled: bool
    duration: int
    # None leaves them as they are.
    permissions: Permissions | None


def new_secret() -> str:
    """A random secret that satisfies the rule for passwords."""
    alphabet = string.ascii_letters + string.digits
    while True:
        secret = "".join(secrets.choice(alphabet) for _ in range(32))
        if re.search("[a-z]", secret) and re.search("[A-Z]", secret) and re.search("[0-9]", secret):
            return secret


def check_permissions(
    connection: Connection, permissions: Permissions, project: access.Project | None
) -> None:
    """Raise InvalidError unless every permission can be given to a robot of `project` (None: the system)."""
    if not permissions:
        raise InvalidError("a robot needs at least one permission")
    for item in permissions:
        kind, namespace = item["kind"], item["namespace"]
        if kind == "system":
            if project is not None:
                raise InvalidError("a robot of a project has permissions on that project only")
            if namespace != "/":
                raise InvalidError("the namespace of system permissions is /")
            allowed = ROBOT_SYSTEM
        elif kind == "project":
            if project is not None and namespace != project.name:
                raise InvalidError("a robot of a project has permissions on that project only")
            if namespace != "*" and access.project_by_name(connection, namespace) is None:
                raise InvalidError(f"project {namespace[:255]} not found")
            allowed = ROBOT_PROJECT
        else:
            raise InvalidError("the kind of a permission is system or project")
        if not item["access"]:
            raise InvalidError("a permission needs at least one access")
        for pair in item["access"]:
            if (pair["resource"], pair["action"]) not in allowed:
                raise InvalidError(
                    f"a robot cannot be given {pair['action']} on {kind} {pair['resource']}"[:200]
                )


def live(connection: Connection, permissions: Permissions) -> Permissions:
    """The permissions that still give something: not those on projects that are gone.

    A project made later under the same name is another one.
    """
    names = {item["namespace"] for item in permissions if item["kind"] == "project"} - {"*"}
    query = select(projects.c.name, projects.c.created_at).where(projects.c.name.in_(sorted(names)))
    made = {row.name: row.created_at for row in connection.execute(query)} if names else {}
    return [
        item
        for item in permissions
        if item["namespace"] not in names
        or item["kind"] != "project"
        or made.get(item["namespace"], math.inf) <= item.get("since", math.inf)
    ]


def dated(connection: Connection, permissions: Permissions, now: float) -> Permissions:
    """The same permissions, as given now."""
    found = []
    for item in permissions:
        project = access.project_by_name(connection, item["namespace"]) if item["kind"] == "project" else None
        # Clocks of hosts differ: a project that is there is never younger than what is given on it.
        found.append(item if project is None else {**item, "since": max(now, project.created_at)})
    return found


def check_no_more(connection: Connection, creator: Principal, permissions: Permissions) -> None:
    """Raise ForbiddenError when a robot would give more than it has itself."""
    if creator.kind != "robot":
        return
    for item in permissions:
        named = item["kind"] == "project" and item["namespace"] != "*"
        project = access.project_by_name(connection, item["namespace"]) if named else None
        made = project.created_at if project is not None else None
        for pair in item["access"]:
            held = any(
                grant.kind == item["kind"]
                and grant.namespace in (item["namespace"], "*")
                and (made is None or grant.covers(item["namespace"], made))
                and grant.allows(pair["resource"], pair["action"])
                for grant in creator.grants
            )
            if not held:
                raise ForbiddenError("a robot cannot give permissions that it does not have")


def check_role(creator: Principal, project: str, created_at: float, role: str) -> None:
    """Raise ForbiddenError when a robot would give a role with rights on a project that it has not itself.

    Of the role's rights those count that a robot can have.
    """
    if creator.kind != "robot":
        return
    for resource, action in ROLES[role]:
        wanted = ("project" if resource == "self" else resource, action)
        if wanted in ROBOT_PROJECT and not any(
            grant.covers(project, created_at) and grant.allows(*wanted) for grant in creator.grants
        ):
            raise ForbiddenError("a robot cannot give a role with rights that it does not have")


def _end(duration: int, now: float) -> int:
    if duration != -1 and not 1 <= duration <= 36500:
        raise InvalidError("duration must be -1 or 1 to 36500 days")
    return -1 if duration == -1 else int(now) + duration * 86400


def check_end(creator: Principal, expires_at: int) -> None:
    """Raise ForbiddenError when a robot would make one that outlives it."""
    if creator.kind != "robot" or creator.expires_at == -1:
        return
    if expires_at == -1 or expires_at > creator.expires_at:
        raise ForbiddenError("a robot cannot make a robot that outlives it")


def create(
    connection: Connection,
    request: RobotRequest,
    secret_hash: str,
    *,
    project: access.Project | None,
    creator: Principal,
) -> Row[Any]:
    """Add a robot; returns its row. Raises InvalidError, ConflictError, ForbiddenError."""
    if len(request.name) > 255 or not _NAME.fullmatch(request.name):
        raise InvalidError("robot names have lower-case letters and digits, with single . _ - between them")
    now = time.time()
    check_permissions(connection, request.permissions or [], project)
    permissions = dated(connection, request.permissions or [], now)
    check_no_more(connection, creator, permissions)
    name = f"{project.name}+{request.name}" if project is not None else request.name
    if connection.execute(select(robots.c.id).where(robots.c.name == name)).first():
        raise ConflictError(f"robot {request.name} exists")
    expires_at = _end(request.duration, now)
    check_end(creator, expires_at)
    made = connection.execute(
        insert(robots).values(
            name=name,
            project_id=project.id if project is not None else None,
            description=request.description,
            secret_hash=secret_hash,
            permissions=permissions,
            disabled=request.disabled,
            duration=request.duration,
            expires_at=expires_at,
            creator_type="robot" if creator.kind == "robot" else "local",
            creator_id=creator.id,
            created_at=now,
            updated_at=now,
        )
    ).inserted_primary_key
    assert made is not None
    return get(connection, int(made[0]))


def create_for_scan(
    connection: Connection, project: tuple[int, str], name: str, secret_hash: str, expires_at: int
) -> int:
    """Add a robot that may pull from a project, (id, name); returns its id.

    It ends at `expires_at` (Unix seconds). A scan makes it for its adapter and removes it afterwards.
    """
    project_id, project_name = project
    access_list = [{"resource": "repository", "action": "pull"}]
    now = time.time()
    made = connection.execute(
        insert(robots).values(
            name=f"{project_name}+{name}",
            project_id=project_id,
            description="pulls for one scan",
            secret_hash=secret_hash,
            permissions=[{"kind": "project", "namespace": project_name, "access": access_list}],
            disabled=False,
            duration=1,
            expires_at=expires_at,
            creator_type=_SCANNER,
            created_at=now,
            updated_at=now,
        )
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def is_of_scan(connection: Connection, name: str) -> bool:
    """Whether the robot called `name` (without the configurable prefix) was made for a scan."""
    query = select(robots.c.id).where(robots.c.name == name, robots.c.creator_type == _SCANNER)
    return connection.execute(query).first() is not None


def get(connection: Connection, robot_id: int) -> Row[Any]:
    """The robot's row. Raises NotFoundError."""
    row = connection.execute(select(robots).where(robots.c.id == robot_id)).first()
    if row is None:
        raise NotFoundError(f"robot {robot_id} not found")
    return row


def change(
    connection: Connection,
    robot_id: int,
    request: RobotRequest,
    *,
    project: access.Project | None,
    actor: Principal,
) -> None:
    """Change everything but name and level. Raises NotFoundError, InvalidError, ForbiddenError."""
    row = get(connection, robot_id)
    if request.permissions is None:
        permissions = live(connection, row.permissions)
    else:
        check_permissions(connection, request.permissions, project)
        permissions = dated(connection, request.permissions, time.time())
    check_no_more(connection, actor, permissions)
    # Nor may it switch on, or take over, one that could do more than itself.
    check_no_more(connection, actor, row.permissions)
    # The time runs from when the robot was made, unless the duration changes.
    expires = row.expires_at if request.duration == row.duration else _end(request.duration, row.created_at)
    check_end(actor, expires)
    connection.execute(
        update(robots)
        .where(robots.c.id == robot_id)
        .values(
            description=request.description,
            disabled=request.disabled,
            duration=request.duration,
            expires_at=expires,
            permissions=permissions,
            updated_at=time.time(),
        )
    )


def set_secret(connection: Connection, robot_id: int, secret_hash: str, *, actor: Principal) -> None:
    """Store the hash of a new secret. Raises NotFoundError, ForbiddenError (a robot that could do more)."""
    row = get(connection, robot_id)
    check_no_more(connection, actor, row.permissions)
    check_end(actor, row.expires_at)
    connection.execute(
        update(robots).where(robots.c.id == robot_id).values(secret_hash=secret_hash, updated_at=time.time())
    )


def trust(connection: Connection, robot_id: int, issuers: list[TrustedIssuer], *, actor: Principal) -> None:
    """Let tokens of these issuers stand for the robot's secret, and of no others.

    Raises NotFoundError, ForbiddenError (a robot that could do more).
    """
    row = get(connection, robot_id)
    check_no_more(connection, actor, row.permissions)
    check_end(actor, row.expires_at)
    values = {"trusted_issuers": stored(issuers), "updated_at": time.time()}
    connection.execute(update(robots).where(robots.c.id == robot_id).values(**values))


def by_name(connection: Connection, name: str) -> Row[Any]:
    """The robot of that name, without the configurable prefix. Raises NotFoundError."""
    row = connection.execute(select(robots).where(robots.c.name == name)).first()
    if row is None:
        raise NotFoundError(f"robot {name} not found")
    return row


def remove(connection: Connection, robot_id: int) -> None:
    """Remove a robot. Raises NotFoundError."""
    if not connection.execute(delete(robots).where(robots.c.id == robot_id)).rowcount:
        raise NotFoundError(f"robot {robot_id} not found")


_FIELDS: Fields = {
    "name": Field(robots.c.name),
    "id": Field(robots.c.id, "int"),
    "disable": Field(robots.c.disabled, "bool"),
    "creation_time": Field(robots.c.created_at, "time"),
    "update_time": Field(robots.c.updated_at, "time"),
    "expires_at": Field(robots.c.expires_at, "int"),
}


def find(connection: Connection, robot_id: int) -> Row[Any] | None:
    """The robot's row, None when there is none."""
    return connection.execute(select(robots).where(robots.c.id == robot_id)).first()


def list_robots(
    connection: Connection, project_id: int | None, page: Page
) -> tuple[int, list[tuple[Row[Any], Permissions]]]:
    """Robots of a project, or (None) of the system, by name, with the permissions that give something."""
    of = robots.c.project_id.is_(None) if project_id is None else robots.c.project_id == project_id
    total, found = page.fetch(connection, select(robots).where(of), _FIELDS, robots.c.name)
    return total, [(row, live(connection, row.permissions)) for row in found]
