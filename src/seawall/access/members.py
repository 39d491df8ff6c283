"""Members of projects (users and groups) and user groups."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, delete, func, insert, literal, or_, select, union_all, update
from sqlalchemy.sql.selectable import Subquery

from seawall.access.dn import first_value, normal_dn
from seawall.access.identities import DEFAULT, shown
from seawall.access.rbac import ROLES
from seawall.access.tables import (
    identity_sources,
    project_members,
    user_group_members,
    user_groups,
    users,
)
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError

log: Any = structlog.get_logger("seawall.members")
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


def source_of(connection: Connection, name: str, type_: int) -> str:
    """The source whose groups have names like this one: `SOURCE:name`; "" for the default one."""
    source, colon, _ = name.partition(":")
    kind = {LDAP: "ldap", OIDC: "oidc"}.get(type_)
    t = identity_sources.c
    query = select(t.name).where(t.name == source, t.kind == kind)
    return source if colon and kind and connection.execute(query).first() else DEFAULT


def find_group(
    connection: Connection, name: str, type_: int, dn: str = "", source: str | None = None
) -> int | None:
    """Id of the group: an LDAP group by its DN (in any of its spellings), others by name.

    Without `source` the name says which source it belongs to.
    """
    if source is None:
        source = source_of(connection, name, type_)
    query = select(user_groups.c.id).where(user_groups.c.type == type_, user_groups.c.source == source)
    if type_ == LDAP:
        query = query.where(user_groups.c.ldap_group_dn == normal_dn(dn))
    else:
        query = query.where(user_groups.c.name == name)
    return connection.execute(query).scalar()


def create_group(connection: Connection, name: str, type_: int, dn: str = "") -> int:
    """Add a group and return its id. Raises InvalidError, ConflictError."""
    if type_ not in (LDAP, HTTP, OIDC):
        raise InvalidError("group_type must be 1 (LDAP), 2 (HTTP) or 3 (OIDC)")
    if type_ == LDAP and not dn.strip():
        raise InvalidError("an LDAP group needs ldap_group_dn")
    if type_ == LDAP:
        dn = _stored_dn(dn)
        name = name.strip() or first_value(dn)
    name = name.strip()
    if not name or len(name) > 255:
        raise InvalidError("group names have 1 to 255 characters")
    source = source_of(connection, name, type_)
    if find_group(connection, name, type_, dn, source) is not None:
        raise ConflictError(f"user group {name} exists")
    now = time.time()
    made = connection.execute(
        insert(user_groups).values(
            name=name,
            type=type_,
            ldap_group_dn=dn if type_ == LDAP else "",
            source=source,
            created_at=now,
            updated_at=now,
        )
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def _stored_dn(dn: str) -> str:
    normal = normal_dn(dn)
    if not normal:
        raise InvalidError(f"{dn[:200]!r} is not a distinguished name such as cn=admins,ou=groups,dc=example")
    if len(normal) > 512:
        raise InvalidError("a group's DN has at most 512 characters")
    return normal


def rename_group(connection: Connection, group_id: int, name: str) -> None:
    """Change a group's name. Raises NotFoundError, InvalidError, ConflictError."""
    found = group(connection, group_id)
    name = name.strip()
    if not name or len(name) > 255:
        raise InvalidError("group names have 1 to 255 characters")
    sources = (_source(connection, group_id), source_of(connection, name, found.type))
    if sources[0] != sources[1]:
        # The name says whose group it is.
        raise InvalidError(f"the name of a group of {shown(sources[0])} cannot become {name[:100]}")
    other = find_group(connection, name, found.type, found.ldap_group_dn, sources[0])
    if other not in (None, group_id):
        raise ConflictError(f"user group {name} exists")
    connection.execute(
        update(user_groups).where(user_groups.c.id == group_id).values(name=name, updated_at=time.time())
    )


def _source(connection: Connection, group_id: int) -> str:
    query = select(user_groups.c.source).where(user_groups.c.id == group_id)
    return str(connection.execute(query).scalar_one())


def remove_group(connection: Connection, group_id: int) -> None:
    """Remove a group and its memberships. Raises NotFoundError."""
    if not connection.execute(delete(user_groups).where(user_groups.c.id == group_id)).rowcount:
        raise NotFoundError(f"user group {group_id} not found")


def arrive(
    connection: Connection, user_id: int, source: str, type_: int, groups: Iterable[tuple[str, str]]
) -> None:
    """Record the groups (name and DN) that a source said the user is in; those of others stay as they are.

    A group of another source is never meant, whatever the name: `admins` of the source `corp` is
    `corp:admins` here.
    """
    ids = set()
    for name, dn in groups:
        found = _group_of(connection, source, type_, name, dn)
        if found is not None:
            ids.add(found)
    set_groups_of(connection, user_id, ids, source)


def set_groups_of(connection: Connection, user_id: int, ids: set[int], source: str = DEFAULT) -> None:
    """Record the ids of the source's groups that the user is in."""
    mine = (user_group_members.c.user_id == user_id, user_groups.c.source == source)
    query = select(user_groups.c.id).join(
        user_group_members, user_group_members.c.group_id == user_groups.c.id
    )
    held = set(connection.execute(query.where(*mine)).scalars())
    if held - ids:
        connection.execute(
            delete(user_group_members).where(
                user_group_members.c.user_id == user_id, user_group_members.c.group_id.in_(held - ids)
            )
        )
    for group_id in sorted(ids - held):
        connection.execute(insert(user_group_members).values(user_id=user_id, group_id=group_id))


def _group_of(connection: Connection, source: str, type_: int, name: str, dn: str) -> int | None:
    """Id of a source's group, which is made where it is missing; None for one that it cannot have here."""
    shown_name = f"{source}:{name}" if source else name
    found = find_group(connection, shown_name, type_, dn, source)
    if found is not None:
        return found
    stored = normal_dn(dn) if type_ == LDAP else ""
    taken = select(user_groups.c.id).where(
        user_groups.c.name == shown_name, user_groups.c.type == type_, user_groups.c.ldap_group_dn == stored
    )
    if (
        source_of(connection, shown_name, type_) != source
        or len(shown_name) > 255
        or len(stored) > 512
        or connection.execute(taken).first() is not None
    ):
        log.warning("a group is left out: its name is too long, or another source's", group=shown_name[:300])
        return None
    return create_group(connection, shown_name, type_, dn)


_GROUP = (user_groups.c.id, user_groups.c.name, user_groups.c.type, user_groups.c.ldap_group_dn)
_GROUP_FIELDS: Fields = {
    "group_name": Field(user_groups.c.name),
    "group_type": Field(user_groups.c.type, "int"),
    "ldap_group_dn": Field(user_groups.c.ldap_group_dn),
}


def list_members(
    connection: Connection, project_id: int, name_part: str | None, page: Page
) -> tuple[int, list[Member]]:
    """Users and groups of the project by name; `name_part` matches part of it."""
    found = members_query(project_id)
    query = select(found)
    if name_part:
        query = query.where(contains(found.c.name, name_part))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(page.slice(query.order_by(found.c.name, found.c.id)))
    return int(total), [Member(*row) for row in rows]


def list_groups(
    connection: Connection, name_part: str | None, dn: str | None, page: Page
) -> tuple[int, list[Group]]:
    """User groups by name; `name_part` matches part of it, `dn` is the whole LDAP DN."""
    query = select(*_GROUP)
    if dn:
        query = query.where(user_groups.c.ldap_group_dn == normal_dn(dn))
    if name_part:
        query = query.where(contains(user_groups.c.name, name_part))
    total, rows = page.fetch(connection, query, _GROUP_FIELDS, user_groups.c.name, user_groups.c.id)
    return total, [Group(*row) for row in rows]


def search_groups(connection: Connection, name_part: str, page: Page) -> tuple[int, list[Group]]:
    """User groups whose name contains `name_part`; the page's conditions are not used."""
    query = select(*_GROUP).where(contains(user_groups.c.name, name_part))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(page.slice(query.order_by(user_groups.c.name, user_groups.c.id)))
    return int(total), [Group(*row) for row in rows]


def count_by_role(connection: Connection, project_id: int) -> dict[str, int]:
    """How many members the project has of each role; roles without any are left out."""
    query = (
        select(project_members.c.role, func.count())
        .where(project_members.c.project_id == project_id)
        .group_by(project_members.c.role)
    )
    return dict(connection.execute(query).tuples().all())


def roles_held(connection: Connection, user_id: int, groups: Collection[int]) -> list[tuple[int, str]]:
    """Project and role of every membership of the user and of the groups."""
    mine = project_members.c.user_id == user_id
    if groups:
        mine = or_(mine, project_members.c.group_id.in_(groups))
    query = select(project_members.c.project_id, project_members.c.role).where(mine)
    return [(row[0], row[1]) for row in connection.execute(query)]


def administers_a_project(connection: Connection, user_id: int, groups: Collection[int]) -> bool:
    """Whether the user is project admin of any project."""
    return any(role == "projectAdmin" for _, role in roles_held(connection, user_id, groups))
