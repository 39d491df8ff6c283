"""Repositories: found by name, made on first push."""

from __future__ import annotations

import time

from sqlalchemy import Connection, select

from seawall.access.projects import ensure_public
from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.kernel.errors import RegistryError
from seawall.registry.model import Repository
from seawall.registry.reads import PointReads
from seawall.registry.tables import repositories


class Repositories:
    """The repositories of the registry."""

    def __init__(self, db: Database, reads: PointReads, *, create_projects: bool) -> None:
        """`create_projects`: a push makes a missing project (only sensible without authentication)."""
        self._db = db
        self._reads = reads
        self._create_projects = create_projects

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
        """The repository called `name`, made on first push. Raises NAME_UNKNOWN without its project."""
        found = await self.find(name)
        if found is not None:
            return found
        return await self._db.write(lambda c: create_repository(c, name, self._create_projects))


def find_repository(connection: Connection, name: str) -> Repository | None:
    """The repository called `name`, None when there is none."""
    row = connection.execute(
        select(repositories.c.id, repositories.c.name, repositories.c.project_id, projects.c.public)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(repositories.c.name == name)
    ).first()
    return Repository(*row) if row else None


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
