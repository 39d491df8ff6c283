"""Decisions about access: functions of a Connection, so that a service can decide inside its transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select

from seawall.access.principal import Principal
from seawall.access.rbac import PUBLIC, role_allows
from seawall.access.tables import project_members, projects
from seawall.infra.db.batch import Asked, many


@dataclass(frozen=True, slots=True)
class Project:
    """A project row."""

    id: int
    name: str
    public: bool
    owner_id: int | None
    registry_id: int | None
    created_at: float
    updated_at: float


# Those of Project.
PROJECT_COLUMNS = (
    projects.c.id,
    projects.c.name,
    projects.c.public,
    projects.c.owner_id,
    projects.c.registry_id,
    projects.c.created_at,
    projects.c.updated_at,
)


_NAMED = select(*PROJECT_COLUMNS).where(projects.c.name == bindparam("b_name"))
_ALL_NAMED = select(*PROJECT_COLUMNS).where(projects.c.name.in_(bindparam("b_names", expanding=True)))
_ROLES_NAMED = (
    select(project_members.c.project_id, project_members.c.role)
    .join(projects, projects.c.id == project_members.c.project_id)
    .where(
        projects.c.name.in_(bindparam("b_names", expanding=True)),
        or_(
            project_members.c.user_id == bindparam("b_user"),
            project_members.c.group_id.in_(bindparam("b_groups", expanding=True)),
        ),
    )
)


def project_by_name(connection: Connection, name: str) -> Project | None:
    """The project called `name`."""
    row = connection.execute(_NAMED, {"b_name": name}).first()
    return Project(*row) if row else None


def times_made(connection: Connection, names: Collection[str]) -> dict[str, float]:
    """When projects were made (Unix seconds), by name."""
    query = select(projects.c.name, projects.c.created_at).where(projects.c.name.in_(names))
    return {row[0]: row[1] for row in connection.execute(query)}


def project_by_id(connection: Connection, project_id: int) -> Project | None:
    """The project of that id."""
    row = connection.execute(select(*PROJECT_COLUMNS).where(projects.c.id == project_id)).first()
    return Project(*row) if row else None


def roles(connection: Connection, principal: Principal, project_id: int) -> frozenset[str]:
    """Roles the user has in the project, as a member or through a group."""
    if principal.kind != "user":
        return frozenset()
    mine = project_members.c.user_id == principal.id
    if principal.groups:
        mine = or_(mine, project_members.c.group_id.in_(principal.groups))
    query = select(project_members.c.role).where(project_members.c.project_id == project_id, mine)
    return frozenset(connection.execute(query).scalars())


# A caller and names of projects.
Named = tuple[Principal, frozenset[str]]
# Projects that are there, by name, each with the caller's roles in it.
WithRoles = dict[str, tuple[Project, frozenset[str]]]


def projects_with_roles(connection: Connection, wanted: Sequence[Named]) -> dict[Named, WithRoles]:
    """For each caller those of the named projects that are there; one round trip."""
    asked: list[Asked] = []
    for principal, names in wanted:
        asked.append((_ALL_NAMED, {"b_names": sorted(names)}))
        if _has_roles(principal):
            mine = {"b_names": sorted(names), "b_user": principal.id, "b_groups": list(principal.groups)}
            asked.append((_ROLES_NAMED, mine))
    answers = iter(many(connection, *asked))
    found: dict[Named, WithRoles] = {}
    for item in wanted:
        rows = next(answers)
        given: dict[int, set[str]] = {}
        for project_id, role in next(answers) if _has_roles(item[0]) else ():
            given.setdefault(project_id, set()).add(role)
        found[item] = {row[1]: (Project(*row), frozenset(given.get(row[0], ()))) for row in rows}
    return found


def _has_roles(principal: Principal) -> bool:
    """Whether roles may decide about what the caller may do."""
    return principal.kind == "user" and principal.known and not principal.sysadmin


def may(connection: Connection, principal: Principal, project: Project, resource: str, action: str) -> bool:
    """Whether the caller may do `action` on `resource` ("self": the project itself) of the project."""
    return allows(principal, project, lambda: roles(connection, principal, project.id), resource, action)


def allows(
    principal: Principal, project: Project, own: Callable[[], frozenset[str]], resource: str, action: str
) -> bool:
    """`may`, for a caller whose roles in the project `own` gives where they decide."""
    if project.public and (resource, action) in PUBLIC:
        return True
    limits = principal.limits
    if limits is not None and not limits.covers(project.name, project.created_at):
        return False
    if principal.sysadmin or (limits is not None and limits.sysadmin):
        return True
    if principal.kind == "robot":
        named = "project" if resource == "self" else resource
        return any(
            grant.covers(project.name, project.created_at)
            and (principal.robot_project in (None, project.id))
            and grant.allows(named, action)
            for grant in principal.grants
        )
    return role_allows(own(), resource, action)


def may_system(principal: Principal, resource: str, action: str) -> bool:
    """Whether the caller may do `action` on a `resource` of the whole system."""
    if principal.sysadmin:
        return True
    return any(grant.kind == "system" and grant.allows(resource, action) for grant in principal.grants)


def visible(principal: Principal) -> Select[Any] | None:
    """A query for the ids of projects the caller may see; None means all of them."""
    if principal.sysadmin:
        return None
    query = select(projects.c.id)
    conditions: list[ColumnElement[bool]] = [projects.c.public.is_(True)]
    if principal.kind == "robot":
        given = [grant for grant in principal.grants if grant.kind == "project"]
        if principal.robot_project is None and any(grant.namespace == "*" for grant in given):
            return None
        ages: dict[float, list[str]] = {}
        for grant in given:
            ages.setdefault(grant.since, []).append(grant.namespace)
        conditions += [
            and_(projects.c.name.in_(names), projects.c.created_at <= since)
            if math.isfinite(since)
            else projects.c.name.in_(names)
            for since, names in ages.items()
        ]
    elif principal.known:
        mine = project_members.c.user_id == principal.id
        if principal.groups:
            mine = or_(mine, project_members.c.group_id.in_(principal.groups))
        member = projects.c.id.in_(select(project_members.c.project_id).where(mine))
        limits = principal.limits
        if limits is None or limits.projects is None:
            conditions.append(member)
        else:
            named = [
                and_(projects.c.name == name, projects.c.created_at <= since)
                for name, since in limits.projects
            ]
            conditions += named if limits.sysadmin else [and_(one, member) for one in named]
    return query.where(or_(*conditions))


def within_limits(connection: Connection, principal: Principal, ids: set[int]) -> set[int]:
    """Of these projects' ids those that the caller's token is for; all of them without such a token."""
    limits = principal.limits
    if limits is None or limits.projects is None or not ids:
        return ids
    query = select(projects.c.id, projects.c.name, projects.c.created_at).where(projects.c.id.in_(ids))
    return {row.id for row in connection.execute(query) if limits.covers(row.name, row.created_at)}
