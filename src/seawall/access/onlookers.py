"""The rights that many callers have now, in few queries: for those who look on for a long time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, or_, select

from seawall.access.access import PROJECT_COLUMNS, Project, allows
from seawall.access.principal import Principal
from seawall.access.principals import robot_principal
from seawall.access.tables import project_members, projects, robots, user_group_members, users


@dataclass(frozen=True, slots=True)
class Rights:
    """What some callers may do in some projects; a snapshot."""

    # As they are now; who is gone, or may call no more, is not in it.
    callers: dict[Principal, Principal]
    projects: dict[int, Project]
    # Roles by project and user, and by project and group.
    _of_user: dict[tuple[int, int], set[str]]
    _of_group: dict[tuple[int, int], set[str]]

    def may(self, caller: Principal, project: Project, resource: str, action: str) -> bool:
        """See `access.may`; `caller` is one of the values of `callers`."""
        return allows(caller, project, lambda: self._roles(caller, project.id), resource, action)

    def _roles(self, caller: Principal, project_id: int) -> frozenset[str]:
        if caller.kind != "user":
            return frozenset()
        found = set(self._of_user.get((project_id, caller.id), ()))
        for group in caller.groups:
            found |= self._of_group.get((project_id, group), set())
        return frozenset(found)


def rights(connection: Connection, callers: Iterable[Principal], project_ids: Collection[int]) -> Rights:
    """What the callers may do now in the projects that are there."""
    wanted = list(callers)
    query = select(*PROJECT_COLUMNS).where(projects.c.id.in_(project_ids))
    found = {row[0]: Project(*row) for row in connection.execute(query)} if project_ids else {}
    current = _users(connection, [one for one in wanted if one.kind == "user"])
    current |= _robots(connection, [one for one in wanted if one.kind == "robot"])
    of_user: dict[tuple[int, int], set[str]] = {}
    of_group: dict[tuple[int, int], set[str]] = {}
    if found:
        ids = {one.id for one in current.values() if one.kind == "user"}
        groups = {group for one in current.values() for group in one.groups}
        member = project_members.c
        mine = select(member.project_id, member.user_id, member.group_id, member.role).where(
            member.project_id.in_(found), or_(member.user_id.in_(ids), member.group_id.in_(groups))
        )
        for project_id, user_id, group_id, role in connection.execute(mine):
            if user_id is not None:
                of_user.setdefault((project_id, user_id), set()).add(role)
            else:
                of_group.setdefault((project_id, group_id), set()).add(role)
    return Rights(current, found, of_user, of_group)


def _users(connection: Connection, callers: list[Principal]) -> dict[Principal, Principal]:
    # Without authentication everybody is the administrator, who has no row.
    nobody = {one: one for one in callers if one.id == 0}
    ids = {one.id for one in callers} - {0}
    if not ids:
        return nobody
    admins = dict(
        connection.execute(select(users.c.id, users.c.sysadmin).where(users.c.id.in_(ids))).tuples().all()
    )
    groups: dict[int, list[int]] = {}
    member = user_group_members.c
    for user_id, group_id in connection.execute(
        select(member.user_id, member.group_id).where(member.user_id.in_(ids))
    ):
        groups.setdefault(user_id, []).append(group_id)
    return nobody | {
        one: _as_user(one, admins[one.id], tuple(groups.get(one.id, ())))
        for one in callers
        if one.id in admins
    }


def _as_user(caller: Principal, admin: bool, groups: tuple[int, ...]) -> Principal:
    limits = caller.limits
    if limits is not None:
        limits = replace(limits, sysadmin=limits.sysadmin and admin)
    # The administrator by a group of the provider's is one for as long as the session: who asks keeps that.
    return replace(caller, sysadmin=caller.sysadmin and admin, groups=groups, limits=limits)


def _robots(connection: Connection, callers: list[Principal]) -> dict[Principal, Principal]:
    ids = {one.id for one in callers}
    if not ids:
        return {}
    rows = {row.id: row for row in connection.execute(select(robots).where(robots.c.id.in_(ids)))}
    found = {}
    for one in callers:
        row = rows.get(one.id)
        if row is None or row.disabled or not (row.expires_at == -1 or row.expires_at > time.time()):
            continue
        found[one] = robot_principal(row, one.name.removesuffix(row.name))
    return found
