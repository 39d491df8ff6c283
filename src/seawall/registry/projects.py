"""Projects with what they hold: created with a quota, counted, deleted only when empty."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select

from seawall.access import projects
from seawall.access.access import Project, project_by_name
from seawall.kernel.errors import ConflictError, InvalidError
from seawall.registry import virtual
from seawall.registry.accounting import UNLIMITED
from seawall.registry.lookups import has_repositories, repository_ids
from seawall.registry.repositories import lock
from seawall.registry.tables import REPOSITORY_EXISTS, quotas, repositories

# What a new project may hold (bytes, -1 for no bound) when nobody says so.
DefaultQuota = Callable[[], Awaitable[int]]


def default_quota(setting: Callable[[str], Awaitable[Any]]) -> DefaultQuota:
    """The quota of new projects by the system's settings; `setting` gives one by its name."""

    async def quota() -> int:
        if not await setting("quota_per_project_enable"):
            return UNLIMITED
        return int(await setting("storage_per_project"))

    return quota


async def unlimited() -> int:
    """A DefaultQuota without a bound."""
    return UNLIMITED


def create(
    connection: Connection,
    name: str,
    *,
    owner: int | None,
    metadata: Mapping[str, str],
    storage: int = UNLIMITED,
    registry_id: int | None = None,
) -> int:
    """Make a project with a quota and return its id; `owner` becomes its first project admin.

    `storage` is the quota in bytes, -1 for none. Raises InvalidError or ConflictError.
    """
    if storage != UNLIMITED and storage <= 0:
        raise InvalidError("storage_limit must be -1 or more than 0 bytes")
    listed = {key: value for key, value in metadata.items() if key == virtual.MEMBERS}
    plain = {key: value for key, value in metadata.items() if key not in listed}
    project_id = projects.create(connection, name, owner=owner, metadata=plain, registry_id=registry_id)
    if listed:
        made = project_by_name(connection, name)
        assert made is not None
        virtual.set_metadata(connection, made, listed)
    has_quota = select(quotas.c.id).where(quotas.c.project_id == project_id)
    if not connection.execute(has_quota).first():
        now = time.time()
        connection.execute(
            insert(quotas).values(
                project_id=project_id, hard_storage=storage, used_storage=0, created_at=now, updated_at=now
            )
        )
    return project_id


def make_library(connection: Connection) -> None:
    """Make the public project `library`, which Harbor's installations have from the start."""
    if project_by_name(connection, "library") is None:
        create(connection, "library", owner=None, metadata={"public": "true"})


def count_repositories(connection: Connection, project_ids: Collection[int]) -> dict[int, int]:
    """How many repositories each project has; those without any are left out."""
    query = (
        select(repositories.c.project_id, func.count())
        .where(repositories.c.project_id.in_(project_ids), REPOSITORY_EXISTS)
        .group_by(repositories.c.project_id)
    )
    return dict(connection.execute(query).tuples().all())


def not_deletable(connection: Connection, project: Project) -> str | None:
    """Why the project cannot be deleted, None when it can."""
    if has_repositories(connection, project.id):
        return "the project contains repositories, can not be deleted"
    return None


def remove(connection: Connection, project: Project) -> None:
    """Delete the project and all that belongs to it. Raises NotFoundError, ConflictError when not empty.

    The foreign key from repositories would delete them too, so emptiness is checked in the transaction.
    """
    projects.lock(connection, project)
    for _ in range(2):
        reason = not_deletable(connection, project)
        if reason is not None:
            raise ConflictError(reason)
        # A push of a first manifest holds its repository: it is over before the second look, or comes after.
        lock(connection, repository_ids(connection, project.id), leaving=True)
    virtual.forget(connection, project)
    projects.remove(connection, project)
