"""Principals of the accounts that are stored."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from seawall.access.principal import Principal, RobotGrant
from seawall.access.tables import oidc_users, robots, second_factors, user_group_members, users
from seawall.access.trusted_issuers import TrustedIssuer, known


def principal_of(connection: Connection, condition: ColumnElement[bool]) -> Principal | None:
    """The user that `condition` on `users` picks, with its groups."""
    row = connection.execute(select(users.c.id, users.c.username, users.c.sysadmin).where(condition)).first()
    return principal_in(connection, row) if row else None


def principal_in(connection: Connection, row: Any) -> Principal:
    """The user of `row` (id, name, whether administrator), with its groups."""
    groups = connection.execute(
        select(user_group_members.c.group_id).where(user_group_members.c.user_id == row[0])
    ).scalars()
    return Principal(row[0], row[1], row[2], groups=tuple(groups))


@dataclass(frozen=True, slots=True)
class Account:
    """Who a login name stands for, and what its password is checked against."""

    principal: Principal
    stored: str | None
    sealed: str | None = None
    # Of a robot: its id, full name and project's id, and whose tokens stand for its secret.
    robot: tuple[int, str, int | None] = (0, "", None)
    issuers: list[TrustedIssuer] = field(default_factory=list)


def account_of(connection: Connection, name: str, prefix: str) -> Account | None:
    """The user or robot that the name of a login stands for; None when it may not sign in."""
    if name.startswith(prefix):
        robot = connection.execute(select(robots).where(robots.c.name == name.removeprefix(prefix))).first()
        if robot is not None:
            usable = not robot.disabled and (robot.expires_at == -1 or robot.expires_at > time.time())
            if not usable:
                return None
            return Account(
                robot_principal(robot, prefix),
                robot.secret_hash,
                robot=(robot.id, prefix + robot.name, robot.project_id),
                issuers=known(robot.trusted_issuers),
            )
    row = connection.execute(
        select(
            users.c.id,
            users.c.username,
            users.c.sysadmin,
            users.c.password_hash,
            oidc_users.c.secret,
            second_factors.c.confirmed_at,
        )
        .outerjoin(oidc_users, oidc_users.c.user_id == users.c.id)
        .outerjoin(second_factors, second_factors.c.user_id == users.c.id)
        .where(users.c.username == name)
    ).first()
    if row is None:
        return None
    principal = principal_in(connection, row)
    if row.password_hash is not None:
        principal = replace(principal, factor="off" if row.confirmed_at is None else "on")
    return Account(principal, row.password_hash, row.secret or None)


def robot_principal(row: Any, prefix: str) -> Principal:
    """The robot of a row of `robots`."""
    grants = tuple(
        RobotGrant(
            item["kind"],
            item["namespace"],
            frozenset((pair["resource"], pair["action"]) for pair in item["access"]),
            # Robots of older versions do not say; their permissions are as old as their last change.
            item.get("since", row.updated_at),
        )
        for item in row.permissions
    )
    return Principal(
        row.id,
        prefix + row.name,
        kind="robot",
        grants=grants,
        robot_project=row.project_id,
        expires_at=row.expires_at,
    )
