"""Who may do what: Harbor's resources and actions by project role, and what a robot may be given.

Deny by default: a (resource, action) that is in none of a caller's tables is refused. A system
administrator may do everything. Source: Harbor's published role table ("User Permissions By Role") and its
`/permissions` list; "self" stands for the project itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Table = frozenset[tuple[str, str]]

# Harbor's numbers; limitedGuest came last.
ROLE_IDS: dict[str, int] = {"projectAdmin": 1, "developer": 2, "guest": 3, "maintainer": 4, "limitedGuest": 5}
ROLE_NAMES: dict[int, str] = {number: name for name, number in ROLE_IDS.items()}
# Strongest first: the role shown for a caller who has several, by membership and by group.
ROLE_RANK = ("projectAdmin", "maintainer", "developer", "guest", "limitedGuest")


def _table(rows: Mapping[str, str]) -> Table:
    return frozenset((resource, action) for resource, actions in rows.items() for action in actions.split())


_CRUDL = "create read update delete list"
_LIMITED_GUEST = {
    "self": "read",
    "quota": "read",
    "repository": "list read pull",
    "configuration": "read",
    "scan": "read",
    "sbom": "read",
    "scanner": "read",
    "tag": "list",
    "accessory": "list",
    "artifact": "read list",
    "artifact-addition": "read",
}
_GUEST = {**_LIMITED_GUEST, "member": "read list", "label": "read list", "robot": "read list"}
_DEVELOPER = {
    **_GUEST,
    "repository": "create read update list push pull",
    "tag-retention": _CRUDL + " operate",
    "artifact": "create read list",
    "tag": "list create",
    "artifact-label": "create delete",
    "export-cve": "create read list",
}
_MAINTAINER = {
    **_DEVELOPER,
    "metadata": "read",
    "label": _CRUDL,
    "repository": _CRUDL + " push pull",
    "immutable-tag": "create update delete list",
    "notification-policy": "read list",
    "scan": "create read stop",
    "sbom": "create read stop",
    "artifact": "create read delete list",
    "tag": "list create delete",
}
_PROJECT_ADMIN = {
    **_MAINTAINER,
    "self": "read update delete",
    "member": _CRUDL,
    "metadata": "create read update delete",
    "log": "list",
    "configuration": "read update",
    "robot": _CRUDL,
    "notification-policy": _CRUDL,
    "scanner": "create read",
    "preheat-policy": _CRUDL,
}
ROLES: dict[str, Table] = {
    "projectAdmin": _table(_PROJECT_ADMIN),
    "maintainer": _table(_MAINTAINER),
    "developer": _table(_DEVELOPER),
    "guest": _table(_GUEST),
    "limitedGuest": _table(_LIMITED_GUEST),
}
# What everyone, also anonymous, may do in a public project.
PUBLIC: Table = _table(
    {
        "self": "read",
        "label": "read list",
        "repository": "list pull",
        "scan": "read",
        "scanner": "read",
        "tag": "list",
        "artifact": "read list",
        "artifact-addition": "read",
        "accessory": "list",
    }
)

# What a robot account may be given, by scope; `/permissions` lists these.
ROBOT_SYSTEM: Table = _table(
    {
        "audit-log": "list",
        "preheat-instance": _CRUDL,
        "project": "list create",
        "replication-policy": _CRUDL,
        "replication": "read create list",
        "replication-adapter": "list",
        "registry": _CRUDL,
        "scan-all": "read update stop create",
        "system-volumes": "read",
        "garbage-collection": "read create list update stop",
        "purge-audit": "read create list update stop",
        "jobservice-monitor": "list stop",
        "scanner": _CRUDL,
        "label": "read create delete update",
        "security-hub": "read list",
        "catalog": "read",
        "quota": "read list update",
        "robot": "create read list delete",
        "user": _CRUDL,
        "ldap-user": "create list",
        "user-group": _CRUDL,
    }
)
ROBOT_PROJECT: Table = _table(
    {
        "log": "list",
        "project": "read delete update",
        "metadata": _CRUDL,
        "repository": "read update delete list pull push",
        "artifact": "read create list delete",
        "scan": "create read stop",
        "sbom": "create read stop",
        "tag": "create list delete",
        "accessory": "list create",
        "artifact-addition": "read",
        "artifact-label": "create delete",
        "scanner": "create read",
        "preheat-policy": _CRUDL,
        "immutable-tag": "create delete list update",
        "notification-policy": _CRUDL,
        "tag-retention": _CRUDL,
        "label": _CRUDL,
        "quota": "read",
        "robot": "create read list delete",
        "export-cve": "create read",
        "member": _CRUDL,
    }
)

# The right of robots that sign: to read what a gate on pulls holds back. Seawall's own (Harbor lets anyone
# who may push and says that it is cosign); "*" does not include it.
SIGNING = ("accessory", "create")

# Actions of the registry API and what each asks for.
OCI_ACTIONS: dict[str, tuple[str, str]] = {
    "pull": ("repository", "pull"),
    "push": ("repository", "push"),
    "delete": ("repository", "delete"),
}


def role_allows(roles: Iterable[str], resource: str, action: str) -> bool:
    """Whether one of the roles permits it."""
    return any((resource, action) in ROLES.get(role, frozenset()) for role in roles)


def strongest(roles: Iterable[str]) -> str | None:
    """The role of highest rank, None when there is none."""
    held = set(roles)
    return next((role for role in ROLE_RANK if role in held), None)
