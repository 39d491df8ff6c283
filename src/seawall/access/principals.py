"""Principals of the accounts that are stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select

from seawall.access.principal import Principal, RobotGrant
from seawall.access.tables import oidc_users, robots, second_factors, user_group_members, users
from seawall.access.throttle import of_login, state_of_secret
from seawall.access.trusted_issuers import TrustedIssuer, known
from seawall.infra.db.batch import Asked, many, waits


def principal_of(connection: Connection, condition: ColumnElement[bool]) -> Principal | None:
    """The user that `condition` on `users` picks, with its groups; one round trip."""
    user = select(users.c.id, users.c.username, users.c.sysadmin).where(condition)
    found, groups = many(connection, (user, {}), (groups_of(condition), {}))
    return principal_with(found[0], groups) if found else None


def groups_of(condition: ColumnElement[bool]) -> Any:
    """A query for the ids of groups of the user that `condition` on `users` picks."""
    mine = user_group_members.c.user_id == users.c.id
    return select(user_group_members.c.group_id).join(users, mine).where(condition)


def principal_with(user: Any, groups: Any) -> Principal:
    """The user of a row of (id, name, sysadmin, ...), with the rows of `groups_of`."""
    return Principal(user[0], user[1], user[2], groups=tuple(row[0] for row in groups))


@dataclass(frozen=True, slots=True)
class Account:
    """Who a login name stands for, and what its password is checked against."""

    principal: Principal
    stored: str | None
    sealed: str | None = None
    # Of a robot: its id, full name and project's id, and whose tokens stand for its secret.
    robot: tuple[int, str, int | None] = (0, "", None)
    issuers: list[TrustedIssuer] = field(default_factory=list)


_USER = (
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
    .where(users.c.username == bindparam("b_name"))
)
_GROUPS = groups_of(users.c.username == bindparam("b_name"))
_ROBOT = select(robots).where(robots.c.name == bindparam("b_name"))
_STATE_OF_USER = state_of_secret(select(users.c.password_hash).where(users.c.username == bindparam("b_name")))
_STATE_OF_ROBOT = state_of_secret(select(robots.c.secret_hash).where(robots.c.name == bindparam("b_name")))


# A login name, what names of robots begin with, and the address whose counter of wrong secrets is wanted
# (None: none is).
Login = tuple[str, str, str | None]
# The account of the name (None: there is none), and the row of `state_of_secret` (None: to be asked for).
Found = tuple[Account | None, Any]


def accounts_of(connection: Connection, wanted: Sequence[Login]) -> dict[Login, Found]:
    """What there is of each login name; a round trip, and another for robots that are none."""
    found: dict[Login, Found] = {}
    robot = [item for item in wanted if item[0].startswith(item[1])]
    if robot:
        asked = [_questions(connection, *item, _STATE_OF_ROBOT, _ROBOT) for item in robot]
        for item, (rows, *state) in zip(robot, _answers(connection, asked), strict=True):
            if rows:
                account = _robot_account(_robot_row(rows[0]), item[1])
                found[item] = account, state[0][0] if state else None
    users_ = [item for item in wanted if item not in found]
    asked = [_questions(connection, item[0], "", item[2], _STATE_OF_USER, _USER, _GROUPS) for item in users_]
    for item, (rows, groups, *state) in zip(users_, _answers(connection, asked), strict=True):
        account = _user_account(rows[0], groups) if rows else None
        found[item] = account, state[0][0] if state else None
    return found


def _questions(
    connection: Connection, name: str, prefix: str, client: str | None, state: Any, *queries: Any
) -> list[Asked]:
    short = name.removeprefix(prefix)
    found: list[Asked] = [(query, {"b_name": short}) for query in queries]
    if client is not None and waits(connection):
        # Guesses are counted by the whole name.
        found.append((state, {"b_name": short, "b_login": of_login(name, client)}))
    return found


def _answers(connection: Connection, asked: list[list[Asked]]) -> list[list[list[Any]]]:
    """The rows of each question of each list; one round trip."""
    rows = iter(many(connection, *(question for questions in asked for question in questions)))
    return [[next(rows) for _ in questions] for questions in asked]


def _user_account(row: Any, groups: Any) -> Account:
    *user, stored, sealed, confirmed_at = row
    principal = principal_with(user, groups)
    if stored is not None:
        principal = replace(principal, factor="off" if confirmed_at is None else "on")
    return Account(principal, stored, sealed or None)


def _robot_row(row: Any) -> Any:
    return SimpleNamespace(**dict(zip(robots.c.keys(), row, strict=True)))


def _robot_account(robot: Any, prefix: str) -> Account | None:
    """The account of a robot's row; None when it is disabled or has expired."""
    usable = not robot.disabled and (robot.expires_at == -1 or robot.expires_at > time.time())
    if not usable:
        return None
    return Account(
        robot_principal(robot, prefix),
        robot.secret_hash,
        robot=(robot.id, prefix + robot.name, robot.project_id),
        issuers=known(robot.trusted_issuers),
    )


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
