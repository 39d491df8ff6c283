"""Users, groups, identities and robots of a Harbor, as rows here.

Sources: Harbor's models `harbor_user`, `oidc_user`, `user_group`, `robot`, `role_permission` and
`permission_policy`. Hashes of passwords and secrets are taken as they are (`access.passwords`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from seawall.access.accounts import FIRST_ADMIN, check_username
from seawall.access.passwords import harbor_hash
from seawall.access.rbac import ROBOT_PROJECT, ROBOT_SYSTEM
from seawall.availability.adopt.cipher import HarborCipher, WrongKeyError
from seawall.availability.adopt.harbor import HarborDatabase, Record, parsed, seconds
from seawall.availability.adopt.merge import Kind, Wanted
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import oidc_users, robots, user_groups, users
from seawall.kernel.errors import InvalidError


def _first_admin(_connection: Connection, row: Any) -> str | None:
    return "it is the first administrator" if row.id == FIRST_ADMIN else None


# A hash that a login has replaced, and a new refresh token, are not changes that somebody made.
USERS = Kind("user", users, ("username", "email", "realname", "comment", "sysadmin"), _first_admin)
IDENTITIES = Kind("identity", oidc_users, ("issuer", "subject"))
GROUPS = Kind("group", user_groups, ("name", "type", "ldap_group_dn"))
ROBOTS = Kind(
    "robot", robots, ("name", "description", "disabled", "expires_at", "permissions", "trusted_issuers")
)
_ROBOT_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


def _times(record: Record) -> dict[str, float]:
    made = seconds(record.get("creation_time")) or time.time()
    return {"created_at": made, "updated_at": seconds(record.get("update_time")) or made}


def wanted_users(harbor: HarborDatabase, report: Report, auth_mode: str) -> Iterator[Wanted]:
    """The users that are not deleted; those of a directory or provider have no password here."""
    outside = {row["user_id"] for row in harbor.rows("oidc_user", order="id")}
    for row in harbor.rows("harbor_user", order="user_id", where="NOT deleted"):
        name, number = row["username"] or "", row["user_id"]
        first = number == FIRST_ADMIN
        try:
            check_username(name)
        except InvalidError as error:
            report.leave(f"user {name!r}", error)
            continue
        stored = None
        elsewhere = number in outside or (auth_mode not in ("db_auth", "oidc_auth") and not first)
        if not elsewhere and row["password"]:
            try:
                stored = harbor_hash(
                    row.get("password_version") or "sha1", row["salt"] or "", row["password"]
                )
            except InvalidError as error:
                report.leave(f"password of user {name}", error)
        elif not elsewhere:
            report.note(f"user {name} has no password in Harbor yet")
        values = {
            "username": name,
            "email": row["email"] or None,
            "realname": (row["realname"] or "")[:255],
            "comment": (row["comment"] or "")[:255],
            "sysadmin": bool(row["sysadmin_flag"]) or first,
        }
        if stored is not None or not first:
            values["password_hash"] = stored
        yield Wanted(
            str(number), name, values, initial=_times(row), key=("username",), id=number, takes=first
        )


def wanted_identities(
    harbor: HarborDatabase,
    report: Report,
    cipher: HarborCipher,
    users_here: Mapping[str, Any],
    endpoint: str,
    seal: Callable[[str, str, Any], Any],
) -> Iterator[Wanted]:
    """OpenID identities with their CLI secrets and refresh tokens; `endpoint` is the issuer's URL."""
    for row in harbor.rows("oidc_user", order="id"):
        user = users_here.get(str(row["user_id"]))
        if user is None:
            continue
        what = f"OpenID identity of user {row['user_id']}"
        issuer, subject = _split(row["subiss"], endpoint)
        if not issuer or not subject:
            report.leave(what, "nothing says where the issuer ends; set oidc_endpoint in Harbor")
            continue
        secret = cipher.open(row["secret"], what)
        token = None
        if row["token"]:
            held = parsed(cipher.open(row["token"], what), dict)
            if not held:
                raise WrongKeyError(f"{what}: the secret key does not open it; name the one of this Harbor")
            token = held.get("refresh_token")
        initial: dict[str, Any] = dict(_times(row))
        if isinstance(token, str) and token:
            initial["token"] = seal("identity", "token", token)
        yield Wanted(
            str(row["id"]),
            subject,
            {"user_id": user, "issuer": issuer, "subject": subject},
            sealed={"secret": secret},
            initial=initial,
            key=("user_id",),
        )


def _split(text: str, endpoint: str) -> tuple[str, str]:
    """(issuer, subject) of what Harbor stores as subject and issuer in one."""
    for issuer in (endpoint, endpoint.rstrip("/"), f"{endpoint.rstrip('/')}/"):
        if issuer and text.endswith(issuer) and len(text) > len(issuer):
            return issuer, text[: -len(issuer)]
    at = max(text.rfind("https://"), text.rfind("http://"))
    return (text[at:], text[:at]) if at > 0 else ("", "")


def wanted_groups(harbor: HarborDatabase) -> Iterator[Wanted]:
    """User groups, with their number's kind (LDAP 1, HTTP 2, OIDC 3) as in Harbor."""
    for row in harbor.rows("user_group", order="id"):
        values = {
            "name": row["group_name"],
            "type": int(row["group_type"] or 0),
            "ldap_group_dn": row["ldap_group_dn"] or "",
        }
        yield Wanted(
            str(row["id"]),
            row["group_name"],
            values,
            initial=_times(row),
            key=("name", "type", "ldap_group_dn"),
            id=row["id"],
        )


def wanted_robots(
    harbor: HarborDatabase,
    report: Report,
    projects_here: Mapping[str, tuple[int, str, float]],
    users_here: Mapping[str, Any],
) -> Iterator[Wanted]:
    """Robots with the salted hashes of their secrets; those of scans are left out.

    `projects_here`: Harbor's id -> (id, name, time of making).
    """
    permissions = _permissions(harbor, report, projects_here)
    for row in harbor.rows("robot", order="id"):
        name = row["name"] or ""
        if row.get("visible") is False:
            continue
        project = None
        if row["project_id"]:
            project = projects_here.get(str(row["project_id"]))
            if project is None:
                continue
        if not row.get("secret"):
            report.leave(
                f"robot {name}", "its secret is a token of Harbor 1 or 2.0, which only Harbor can check"
            )
            continue
        short = name if project is None else name.removeprefix(f"{project[1]}+")
        if not _ROBOT_NAME.fullmatch(short) or (project is not None and short == name):
            report.leave(f"robot {name}", "a robot cannot have that name here")
            continue
        try:
            stored = harbor_hash("sha256", row.get("salt") or "", row["secret"])
        except InvalidError as error:
            report.leave(f"robot {name}", error)
            continue
        values = {
            "name": name,
            "project_id": project[0] if project is not None else None,
            "description": (row["description"] or "")[:1024],
            "secret_hash": stored,
            "permissions": permissions.get(row["id"], []),
            "disabled": bool(row["disabled"]),
            "duration": int(-1 if row.get("duration") is None else row["duration"]),
            "expires_at": int(-1 if row["expiresat"] is None else row["expiresat"]),
        }
        creator = users_here.get(str(row.get("creator_ref")))
        initial = {
            **_times(row),
            "creator_type": "local",
            "creator_id": creator or 0,
            "trusted_issuers": "",
        }
        yield Wanted(str(row["id"]), name, values, initial=initial, key=("name",), id=row["id"])


def _permissions(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, tuple[int, str, float]]
) -> dict[int, list[dict[str, Any]]]:
    """Robot -> its permissions as the table here has them."""
    policies = {row["id"]: row for row in harbor.rows("permission_policy", order="id")}
    granted: dict[int, dict[tuple[str, str], list[dict[str, str]]]] = {}
    since: dict[str, float] = {}
    unknown: set[str] = set()
    for row in harbor.rows("role_permission", order="id", where="role_type = 'robotaccount'"):
        policy = policies.get(row["permission_policy_id"])
        if policy is None or policy.get("effect") == "deny":
            continue
        scope = policy["scope"] or ""
        kind, namespace = _scope(scope, projects_here)
        if kind is None:
            continue
        found = projects_here.get(scope.rpartition("/")[2])
        if found is not None:
            since[namespace] = found[2]
        pair = (policy["resource"] or "", policy["action"] or "")
        if pair not in (ROBOT_SYSTEM if kind == "system" else ROBOT_PROJECT):
            unknown.add(f"{pair[1]} on {kind} {pair[0]}")
            continue
        access = granted.setdefault(row["role_id"], {}).setdefault((kind, namespace), [])
        item = {"resource": pair[0], "action": pair[1]}
        if item not in access:
            access.append(item)
    for text in sorted(unknown):
        report.leave("permission of robots", f"there is no {text} here")
    return {
        robot: [
            {"kind": kind, "namespace": namespace, "access": access}
            | ({"since": since[namespace]} if namespace in since else {})
            for (kind, namespace), access in items.items()
        ]
        for robot, items in granted.items()
    }


def _scope(text: str, projects_here: Mapping[str, tuple[int, str, float]]) -> tuple[str | None, str]:
    if text == "/system":
        return "system", "/"
    if text == "/project/*":
        return "project", "*"
    project = projects_here.get(text.removeprefix("/project/")) if text.startswith("/project/") else None
    return ("project", project[1]) if project is not None else (None, "")
