"""Projects that several requests make at once."""

from __future__ import annotations

import asyncio

from seawall.features.replication.endpoint import LocalEndpoint
from seawall.kernel.errors import ConflictError
from seawall.registry import projects, quota_lists
from tests.support.lab import Lab, Run


def test_one_of_many_makes_a_project(run: Run) -> None:
    async def body(lab: Lab) -> None:
        for number in range(5):
            name = f"wanted{number}"
            made = await asyncio.gather(
                *(
                    lab.db.write(lambda c, name=name: projects.create(c, name, owner=None, metadata={}))  # type: ignore[misc]
                    for _ in range(8)
                ),
                return_exceptions=True,
            )
            refused = [item for item in made if isinstance(item, BaseException)]
            assert [type(item) for item in refused] == [ConflictError] * 7
            assert str(refused[0]) == f"project {name} exists"
            # A copy finds the project that another copy has made meanwhile.
            target = LocalEndpoint(lab.db, lab.content)
            await asyncio.gather(*(target.prepare(f"copied{number}/app") for _ in range(8)))

    run(body)


def test_a_project_that_a_copy_makes_has_the_quota_of_new_projects(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.services.configuration.set({"storage_per_project": 5000})
        await LocalEndpoint(lab.db, lab.content).prepare("copied/app")
        rows = await lab.db.read(lambda c: list(quota_lists.usage(c)))
        assert [row for row in rows if row[0] == "copied"] == [("copied", 0, 5000)]

    run(body)
