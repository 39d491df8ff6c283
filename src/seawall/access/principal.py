"""The caller of a request, however it showed who it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from seawall.kernel.errors import SeawallError


class EndedError(SeawallError):
    """The credential was one, and is none any more; the message says why, to who holds it."""


@dataclass(frozen=True, slots=True)
class RobotGrant:
    """Permissions of a robot on one namespace.

    `kind` is `system` or `project`; `namespace` is a project's name, `*` for every project, `/` for the
    system. `access` holds (resource, action) pairs; `*` stands for all. `since` is when it was given (Unix
    seconds): a project that was made later under the same name is another one.
    """

    kind: str
    namespace: str
    access: frozenset[tuple[str, str]]
    since: float = math.inf

    def covers(self, name: str, created_at: float) -> bool:
        """Whether it is about the project of that name that was made then."""
        return self.kind == "project" and (
            self.namespace == "*" or (self.namespace == name and created_at <= self.since)
        )

    def allows(self, resource: str, action: str) -> bool:
        """Whether the grant names the pair."""
        return any(r in (resource, "*") and a in (action, "*") for r, a in self.access)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a token of a user leaves of the user's rights.

    `projects` are pairs of a project's name and when the token named it (Unix seconds): a project made later
    under the same name is another one. None: all projects. `sysadmin`: whether the user administers the
    system, for a token that is limited to projects, whose principal does not.
    """

    scopes: frozenset[str]
    projects: tuple[tuple[str, float], ...] | None = None
    sysadmin: bool = False

    def covers(self, name: str, created_at: float) -> bool:
        """Whether the token is for the project of that name that was made then."""
        return self.projects is None or any(
            name == named and created_at <= since for named, since in self.projects
        )

    def oci_actions(self) -> frozenset[str]:
        """Actions of the registry API that the scopes allow. Who pushes reads what is there already."""
        allowed = {"pull"} if self.scopes & {"pull", "push"} else set()
        if "push" in self.scopes:
            allowed.add("push")
            if "api-write" in self.scopes:
                allowed.add("delete")
        return frozenset(allowed)

    def reads_api(self) -> bool:
        """Whether the token may read through the management API."""
        return bool(self.scopes & {"api-read", "api-write"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, a robot account, or nobody.

    `id` is of the users or robots table, 0 for anonymous. `name` is what the audit log shows; a robot's has
    its prefix. `groups` are ids of user groups. `via` says how the caller was identified: a session needs
    the CSRF header for changes, the others cannot be sent by another site's page.
    """

    id: int
    name: str
    sysadmin: bool = False
    kind: Literal["user", "robot", "anonymous"] = "user"
    groups: tuple[int, ...] = ()
    grants: tuple[RobotGrant, ...] = ()
    # Project of a project-level robot, None for other callers.
    robot_project: int | None = None
    # When a robot or a token ends (Unix seconds), -1 for never.
    expires_at: int = -1
    # Of a caller with a token of a user's.
    limits: Limits | None = None
    # Of a user whose password is here: whether a second factor is on.
    factor: Literal["", "on", "off"] = ""
    via: Literal["basic", "bearer", "session", "none"] = "basic"
    # The source, other than the default one, that let this user in just now.
    source: str = ""

    @property
    def known(self) -> bool:
        """Whether the caller showed who it is."""
        return self.kind != "anonymous"


ANONYMOUS = Principal(0, "", kind="anonymous", via="none")
# `auth.mode: none`: everyone is the administrator.
EVERYONE = Principal(0, "anonymous", sysadmin=True, via="none")
