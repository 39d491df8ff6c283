"""A repository exists once a manifest does: an unfinished push leaves nothing that counts."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, func, select

from seawall.access.access import Project, project_by_name
from seawall.access.principal import EVERYONE
from seawall.kernel.errors import ConflictError
from seawall.registry import repository_lists
from seawall.registry.projects import count_repositories, not_deletable, remove
from seawall.registry.tables import repositories
from tests.support.lab import Lab, Run


def project_of(connection: Connection) -> Project:
    found = project_by_name(connection, "p")
    assert found is not None
    return found


def test_neither_counts_nor_keeps_the_project(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project_id = await lab.project()
        await lab.blob("p/unfinished", b"a layer")
        await lab.content.start_upload("p/cancelled")

        def look(connection: Connection) -> tuple[object, ...]:
            project = project_of(connection)
            return (
                connection.execute(select(func.count()).select_from(repositories)).scalar_one(),
                count_repositories(connection, [project_id]),
                repository_lists.count_visible(connection, EVERYONE, public=True),
                not_deletable(connection, project) is None,
            )

        assert await lab.db.read(look) == (2, {}, (1, 0), True)
        await lab.image("p/whole", "1")
        assert await lab.db.read(look) == (3, {project_id: 1}, (1, 1), False)
        with pytest.raises(ConflictError):
            await lab.db.write(lambda c: remove(c, project_of(c)))

    run(body)


def test_its_project_is_deleted_with_what_it_left(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await lab.blob("p/unfinished", b"a layer")
        await lab.content.start_upload("p/cancelled")
        await lab.db.write(lambda c: remove(c, project_of(c)))
        assert await lab.db.read(lambda c: c.execute(select(repositories.c.id)).first()) is None

    run(body)
