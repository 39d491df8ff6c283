"""Pushes to a project without a limit wait for no other, and what it stores is exact whatever comes in."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, create_engine, func, select, text

from seawall.availability.adopt.merge import Merger, Wanted
from seawall.availability.adopt.projects import QUOTAS
from seawall.availability.adopt.report import Report
from seawall.availability.peers.kinds import KINDS, new_names
from seawall.availability.peers.model import Context
from seawall.availability.sites import intake
from seawall.kernel.errors import RegistryError
from seawall.registry import accounting, ledger
from seawall.registry.tables import quota_changes, quotas
from tests.support.lab import Lab, Run

# How a limit is written otherwise than by who sets it here.
Writer = Callable[[Lab, Connection, int, int], None]


@contextlib.contextmanager
def held(lab: Lab, statement: str, project: int) -> Iterator[None]:
    """An open transaction of somebody else that has done `statement`."""
    engine = create_engine(lab.services.settings.database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        connection.execute(text(statement), {"project": project})
        yield
    engine.dispose()


def rows(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(quota_changes)).scalar_one())


def used_and_hard(connection: Connection, project: int) -> tuple[int, int]:
    row = connection.execute(
        select(ledger.USED, quotas.c.hard_storage).where(quotas.c.project_id == project)
    ).one()
    return int(row[0]), int(row[1])


@pytest.mark.parametrize(
    "statement",
    [
        # Another push, before its commit.
        "INSERT INTO quota_changes (project_id, size) SELECT project_id, 1 FROM quotas"
        " WHERE project_id = :project FOR KEY SHARE",
        # A deletion, or the rows being added up.
        "UPDATE quotas SET used_storage = used_storage + 1 WHERE project_id = :project",
    ],
    ids=["push", "fold"],
)
def test_a_push_waits_for_no_other(run: Run, statement: str) -> None:
    async def body(lab: Lab) -> None:
        if lab.db.dialect != "postgresql":
            # SQLite lets one transaction write at a time.
            return
        project = await lab.project()
        # The first makes the project's row.
        await lab.image("p/a", "0")
        with held(lab, statement, project):
            async with asyncio.timeout(5):
                await lab.image("p/b", "1", layers=[secrets.token_bytes(1000)])
                await lab.blob("p/c", b"blob")
        await lab.db.write(lambda c: accounting.set_quota(c, project, 10**6))
        assert await lab.db.read(rows) == 0, "who sets a limit has not taken in all rows"
        await lab.blob("p/c", b"the first one after the limit learns of it")
        with held(lab, "UPDATE quotas SET used_storage = used_storage WHERE project_id = :project", project):
            waiting = asyncio.create_task(lab.blob("p/c", b"waits"))
            await asyncio.sleep(1)
            assert not waiting.done(), "with a limit pushes must take turns"
        await waiting

    run(body)


def test_who_sets_a_limit_waits_for_pushes_under_way(run: Run) -> None:
    """What they add would be missing in the sum that later pushes are compared with."""

    async def body(lab: Lab) -> None:
        if lab.db.dialect != "postgresql":
            return
        project = await lab.project()
        await lab.image("p/a", "0")
        push = "SELECT project_id FROM quotas WHERE project_id = :project AND hard_storage < 0 FOR KEY SHARE"
        with held(lab, push, project):
            setting = asyncio.create_task(lab.db.write(lambda c: accounting.set_quota(c, project, 10**6)))
            await asyncio.sleep(1)
            assert not setting.done()
        await setting

    run(body)


def from_a_peer(lab: Lab, connection: Connection, project: int, hard: int) -> None:
    del project
    context = Context(lab.services.keys, lab.services.jobs)
    KINDS["quota"].put(connection, context, ["p"], {"hard_storage": hard}, new_names())


def from_a_harbor(lab: Lab, connection: Connection, project: int, hard: int) -> None:
    del lab
    merger = Merger(connection, Report(), lambda _kind, _column, clear: clear, b"pepper")
    values = {"project_id": project, "hard_storage": hard}
    merger.merge(QUOTAS, [Wanted("1", "p", values, key=("project_id",), takes=True)])


def from_an_old_active(lab: Lab, connection: Connection, project: int, hard: int) -> None:
    del lab
    query = select(quotas).where(quotas.c.project_id == project)
    row = dict(connection.execute(query).mappings().one()) | {"hard_storage": hard}
    refs = {"project_id": {"table": "projects", "key": {"name": "p"}, "refs": {}}}
    item = {"kind": "row", "table": "quotas", "row": row, "refs": refs, "unsure": False}
    assert intake._row(connection, item, set())[-1] == intake.CARRIED


@pytest.mark.parametrize("write", [from_a_peer, from_a_harbor, from_an_old_active])
def test_a_limit_from_elsewhere_counts_what_is_not_added_up_yet(run: Run, write: Writer) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "0")
        await lab.blob("p/a", secrets.token_bytes(5000))
        used = await lab.used(project)
        await lab.db.write(lambda c: write(lab, c, project, used + 10))
        assert await lab.db.read(lambda c: used_and_hard(c, project)) == (used, used + 10)
        assert await lab.db.read(rows) == 0, "the limit knows nothing of these"
        with pytest.raises(RegistryError) as refused:
            await lab.blob("p/a", secrets.token_bytes(11))
        assert refused.value.code == "DENIED"
        # A process that knows of the limit compares with the same sum.
        with pytest.raises(RegistryError):
            await lab.blob("p/a", secrets.token_bytes(11))
        await lab.blob("p/a", secrets.token_bytes(10))

    run(body)


def test_rows_are_added_up(run: Run) -> None:
    async def body(lab: Lab) -> None:
        projects = [await lab.project(name) for name in ("p", "q")]
        for name in "pq":
            for number in range(4):
                await lab.image(f"{name}/a", f"t{number}")
        before = [await lab.used(project) for project in projects]
        if lab.db.dialect == "postgresql":
            assert await lab.db.read(rows) > 8
            assert await lab.db.write(ledger.fold) == 2
        assert await lab.db.write(ledger.fold) == 0
        assert await lab.db.read(rows) == 0
        assert [await lab.used(project) for project in projects] == before
        stored = select(quotas.c.used_storage).where(quotas.c.project_id.in_(projects))
        assert (
            await lab.db.read(lambda c: list(c.execute(stored.order_by(quotas.c.project_id)).scalars()))
            == before
        )

    run(body)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_limits_that_come_and_go(run: Run, seed: int) -> None:
    """Pushes, deletions, folds, and a limit that is set and lifted: never passed, and the sum is exact."""
    chance = random.Random(seed)
    shared = [chance.randbytes(chance.randrange(500, 3000)) for _ in range(4)]

    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/r0", "first")
        over = asyncio.Event()
        refused = 0

        async def life(number: int, mine: random.Random) -> None:
            nonlocal refused
            for step in range(6):
                name = f"p/r{mine.randrange(3)}"
                layers = [mine.choice(shared), mine.randbytes(mine.randrange(100, 4000))]
                try:
                    digest = await lab.image(name, f"t{number}-{step}", layers=layers)
                except RegistryError as error:
                    assert error.code == "DENIED", error
                    refused += 1
                    continue
                if mine.random() < 0.3:
                    await lab.content.delete_manifest(name, digest)

        def set_limit(connection: Connection) -> int:
            accounting.set_quota(connection, project, 10**9)
            limit = used_and_hard(connection, project)[0] + 4000
            accounting.set_quota(connection, project, limit)
            return limit

        async def limits(mine: random.Random) -> None:
            while not over.is_set():
                limit = await lab.db.write(set_limit)
                for _ in range(10):
                    used, hard = await lab.db.read(lambda c: used_and_hard(c, project))
                    assert hard == limit
                    assert used <= limit, "the limit was passed"
                    await asyncio.sleep(0.01)
                await lab.db.write(lambda c: accounting.set_quota(c, project, accounting.UNLIMITED))
                await asyncio.sleep(mine.uniform(0, 0.2))

        async def folds() -> None:
            while not over.is_set():
                await lab.db.write(ledger.fold)
                await asyncio.sleep(0.02)

        beside = [asyncio.create_task(limits(chance)), asyncio.create_task(folds())]
        await asyncio.gather(*(life(number, random.Random(seed * 100 + number)) for number in range(8)))
        over.set()
        await asyncio.gather(*beside)
        used = await lab.used(project)
        before, after = await lab.db.write(lambda c: accounting.refresh(c, project))
        assert before == after == used

    run(body)
