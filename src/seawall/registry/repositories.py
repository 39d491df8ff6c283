"""Repositories: found by name, made on first push."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError

from seawall.access.projects import ensure_public
from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.db.batch import rows
from seawall.infra.db.dialect import upsert
from seawall.kernel.errors import RegistryError
from seawall.registry import virtual
from seawall.registry.model import Repository
from seawall.registry.reads import PointReads
from seawall.registry.tables import repositories

T = TypeVar("T")
_KNOWN = 4096


class GoneError(Exception):
    """The repository has been deleted."""


class Repositories:
    """The repositories of the registry."""

    def __init__(self, db: Database, reads: PointReads, *, create_projects: bool) -> None:
        """`create_projects`: a push makes a missing project (only sensible without authentication)."""
        self._db = db
        self._reads = reads
        self._create_projects = create_projects
        self._known: OrderedDict[str, Repository] = OrderedDict()

    async def find(self, name: str) -> Repository | None:
        """The repository called `name`, None when there is none."""
        return await self._reads.get(("r", name), lambda c: find_repository(c, name))

    async def get(self, name: str) -> Repository:
        """The repository called `name`. Raises NAME_UNKNOWN."""
        found = await self.find(name)
        if found is None:
            raise RegistryError("NAME_UNKNOWN", detail={"name": name})
        return found

    async def ensure(self, name: str) -> Repository:
        """The repository called `name`, made on first push. Raises NAME_UNKNOWN without its project.

        On PostgreSQL it may have been deleted meanwhile, and `public` may be old: see `writing`.
        """
        return self._known.get(name) or await self._ensure(name)

    async def renew(self, name: str) -> Repository:
        """`ensure` that asks the database each time. Raises NAME_UNKNOWN once the project is deleted."""
        self._known.pop(name, None)
        return await self._ensure(name)

    async def _ensure(self, name: str) -> Repository:
        found = await self.find(name)
        if found is None:
            found = await self._db.write(lambda c: create_repository(c, name, self._create_projects))
        if self._db.change_token() is None:
            self._known[name] = found
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return found

    async def writing(self, name: str, write: Callable[[Repository], Awaitable[T]]) -> T:
        """`write` to the repository called `name`, made on first push. Raises NAME_UNKNOWN.

        `write` fails with GoneError or IntegrityError when the row that it is given is not there any more,
        which is found out by the very transaction that needs it; then it is called again with another one.
        """
        known = self._known.get(name)
        if known is not None:
            try:
                return await write(known)
            except (GoneError, IntegrityError):
                self._known.pop(name, None)
        try:
            return await write(await self._ensure(name))
        except GoneError:
            raise RegistryError("NAME_UNKNOWN", detail={"name": name}) from None


def lock(connection: Connection, repository_ids: Iterable[int], *, leaving: bool = False) -> set[int]:
    """Lock repositories until commit, in the order of their ids; returns the ids of those that are there.

    A caller that changes manifests or tags of a repository does this first, so that no two do it at once.
    `leaving`: they are to be deleted, so that no blob may be linked to them either.
    """
    query = select(repositories.c.id).where(repositories.c.id.in_(set(repository_ids)))
    query = query.order_by(repositories.c.id).with_for_update(key_share=not leaving)
    return set(connection.execute(query).scalars())


_NAMED = (
    select(repositories.c.id, repositories.c.name, repositories.c.project_id, projects.c.public)
    .join(projects, projects.c.id == repositories.c.project_id)
    .where(repositories.c.name == bindparam("b_name"))
)


def find_repository(connection: Connection, name: str) -> Repository | None:
    """The repository called `name`, None when there is none."""
    found = rows(connection, _NAMED, {"b_name": name})
    return Repository(*found[0]) if found else None


def create_repository(connection: Connection, name: str, create_project: bool) -> Repository:
    """The repository called `name`, made if missing. Raises NAME_UNKNOWN without its project."""
    found = find_repository(connection, name)
    if found is not None:
        return found
    project_name = name.partition("/")[0]
    now = time.time()
    if create_project:
        ensure_public(connection, project_name)
    row = connection.execute(select(projects.c.id).where(projects.c.name == project_name)).first()
    if row is None:
        raise RegistryError("NAME_UNKNOWN", f"project {project_name} not found", detail={"name": name})
    if virtual.is_virtual(connection, row[0]):
        raise virtual.refusal(name)
    connection.execute(
        upsert(
            connection,
            repositories,
            {"project_id": row[0], "name": name, "created_at": now, "updated_at": now},
            ["name"],
            None,
        )
    )
    created = find_repository(connection, name)
    assert created is not None
    return created
