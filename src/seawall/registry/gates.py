"""Remembering which projects hold nothing back, so that most pulls cost no look-up of policies."""

from __future__ import annotations

import time

from seawall.infra.db import Database

_PROJECTS = 4096


class OpenProjects:
    """Projects known to have no policy of one kind.

    Use: `if open.knows(project): return`, then `mark = open.mark()` *before* the policy is read, and
    `open.remember(project, mark)` when there is none: a change in between makes what is remembered stale,
    never wrong. Where commits cannot be seen cheaply, a policy that is set takes effect within `seconds`.
    """

    def __init__(self, db: Database, *, seconds: float = 0) -> None:
        self._db = db
        self._seconds = seconds
        self._until: dict[str, float] = {}

    def knows(self, project: str) -> bool:
        """Whether the project had no policy, and nothing says that this has changed."""
        until = self._until.get(project)
        if until is None:
            return False
        token = self._db.change_token()
        return until == token if token is not None else time.monotonic() < until

    def mark(self) -> float:
        """The moment before a look-up."""
        token = self._db.change_token()
        return token if token is not None else time.monotonic() + self._seconds

    def remember(self, project: str, mark: float) -> None:
        """The project had no policy at `mark`."""
        if len(self._until) > _PROJECTS:
            self._until.clear()
        self._until[project] = mark
