"""Members of projects (users and groups) and user groups."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, literal, select, union_all, update
from sqlalchemy.sql.selectable import Subquery

from seawall.access.rbac import ROLES
from seawall.access.tables import project_members, user_group_members, user_groups, users
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError

LDAP, HTTP, OIDC = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Member:
    """A member: `kind` is "u" or "g" and `entity_id` of that table."""

    id: int
    project_id: int
    kind: str
    entity_id: int
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Group:
    """A user group; `type` is LDAP, HTTP or OIDC."""

    id: int
    name: str
    type: int
    ldap_group_dn: str


def members_query(project_id: int) -> Subquery:
    """Columns of `Member`, users and groups together."""
    of_users = (
        select(
            project_members.c.id,
            project_members.c.project_id,
            literal("u").label("kind"),
            users.c.id.label("entity_id"),
            users.c.username.label("name"),
            project_members.c.role,
        )
        .join(users, users.c.id == project_members.c.user_id)
        .where(project_members.c.project_id == project_id)
    )
    of_groups = (
        select(
            project_members.c.id,
            project_members.c.project_id,
            literal("g").label("kind"),
            user_groups.c.id.label("entity_id"),
            user_groups.c.name.label("name"),
            project_members.c.role,
        )
        .join(user_groups, user_groups.c.id == project_members.c.group_id)
        .where(project_members.c.project_id == project_id)
    )
    return union_all(of_users, of_groups).subquery()


def member(connection: Connection, project_id: int, member_id: int) -> Member:
    """One member of the project. Raises NotFoundError."""
    found = members_query(project_id)
    row = connection.execute(select(found).where(found.c.id == member_id)).first()
    if row is None:
        raise NotFoundError(f"member {member_id} not found")
    return Member(*row)


def add(
    connection: Connection,
    project_id: int,
    role: str,
    *,
    user_id: int | None = None,
    group_id: int | None = None,
) -> int:
    """Add a user or group; returns the member's id. Raises ConflictError, InvalidError."""
    _check_role(role)
    who = project_members.c.group_id == group_id
    if user_id is not None:
        who = project_members.c.user_id == user_id
    if connection.execute(
        select(project_members.c.id).where(project_members.c.project_id == project_id, who)
    ).first():
        raise ConflictError("it is a member of the project already")
    made = connection.execute(
        insert(project_members).values(project_id=project_id, user_id=user_id, group_id=group_id, role=role)
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def change(connection: Connection, project_id: int, member_id: int, role: str) -> None:
    """Give a member another role. Raises NotFoundError, InvalidError."""
    _check_role(role)
    changed = connection.execute(
        update(project_members)
        .where(project_members.c.project_id == project_id, project_members.c.id == member_id)
        .values(role=role)
    )
    if not changed.rowcount:
        raise NotFoundError(f"member {member_id} not found")


def remove(connection: Connection, project_id: int, member_id: int) -> None:
    """Take a member away. Raises NotFoundError."""
    gone = connection.execute(
        delete(project_members).where(
            project_members.c.project_id == project_id, project_members.c.id == member_id
        )
    )
    if not gone.rowcount:
        raise NotFoundError(f"member {member_id} not found")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidError(f"role must be one of {', '.join(ROLES)}")


# -- groups --------------------------------------------------------------------------------------------


def group(connection: Connection, group_id: int) -> Group:
    """One group. Raises NotFoundError."""
    row = connection.execute(
        select(user_groups.c.id, user_groups.c.name, user_groups.c.type, user_groups.c.ldap_group_dn).where(
            user_groups.c.id == group_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"user group {group_id} not found")
    return Group(*row)


def find_group(connection: Connection, name: str, type_: int, dn: str = "") -> int | None:
    """Id of the group: an LDAP group by its DN (whatever the case), others by name."""
    query = select(user_groups.c.id).where(user_groups.c.type == type_)
    if type_ == LDAP:
        query = query.where(func.lower(user_groups.c.ldap_group_dn) == dn.lower())
    else:
        query = query.where(user_groups.c.name == name)
    return connection.execute(query).scalar()


def create_group(connection: Connection, name: str, type_: int, dn: str = "") -> int:
    """Add a group and return its id. Raises InvalidError, ConflictError."""
    if type_ not in (LDAP, HTTP, OIDC):
        raise InvalidError("group_type must be 1 (LDAP), 2 (HTTP) or 3 (OIDC)")
    if type_ == LDAP and not dn.strip():
        raise InvalidError("an LDAP group needs ldap_group_dn")
    name = name.strip()
    if not name or len(name) > 255:
        raise InvalidError("group names have 1 to 255 characters")
    if find_group(connection, name, type_, dn) is not None:
        raise ConflictError(f"user group {name} exists")
    now = time.time()
    made = connection.execute(
        insert(user_groups).values(
            name=name, type=type_, ldap_group_dn=dn if type_ == LDAP else "", created_at=now, updated_at=now
        )
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def rename_group(connection: Connection, group_id: int, name: str) -> None:
    """Change a group's name. Raises NotFoundError, InvalidError, ConflictError."""
    found = group(connection, group_id)
    name = name.strip()
    if not name or len(name) > 255:
        raise InvalidError("group names have 1 to 255 characters")
    other = find_group(connection, name, found.type, found.ldap_group_dn)
    if other not in (None, group_id):
        raise ConflictError(f"user group {name} exists")
    connection.execute(
        update(user_groups).where(user_groups.c.id == group_id).values(name=name, updated_at=time.time())
    )


def remove_group(connection: Connection, group_id: int) -> None:
    """Remove a group and its memberships. Raises NotFoundError."""
    if not connection.execute(delete(user_groups).where(user_groups.c.id == group_id)).rowcount:
        raise NotFoundError(f"user group {group_id} not found")


def set_groups_of(connection: Connection, user_id: int, ids: set[int]) -> None:
    """Record the groups that the identity provider said the user is in."""
    held = set(
        connection.execute(
            select(user_group_members.c.group_id).where(user_group_members.c.user_id == user_id)
        ).scalars()
    )
    if held - ids:
        connection.execute(
            delete(user_group_members).where(
                user_group_members.c.user_id == user_id, user_group_members.c.group_id.in_(held - ids)
            )
        )
    for group_id in sorted(ids - held):
        connection.execute(insert(user_group_members).values(user_id=user_id, group_id=group_id))
