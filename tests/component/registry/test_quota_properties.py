"""Quotas hold whatever comes in at once: the limit is never passed, and the sum is that of the rows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from seawall.kernel.errors import RegistryError
from seawall.registry import accounting
from seawall.registry.tables import quotas
from tests.support.lab import Lab, Run

LIMIT = 40_000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_pushes_and_deletes_at_once(run: Run, seed: int) -> None:
    """Clients push and delete shared and own content at once, near the limit, while somebody looks."""
    chance = random.Random(seed)
    shared = [chance.randbytes(chance.randrange(500, 3000)) for _ in range(4)]

    async def body(lab: Lab) -> None:
        project, other = await lab.project(), await lab.project("q")
        await lab.db.write(lambda c: accounting.set_quota(c, project, LIMIT))
        refused: list[RegistryError] = []
        pushed: list[tuple[str, str]] = []
        over = asyncio.Event()

        async def life(number: int, mine: random.Random) -> None:
            for step in range(4):
                name = f"{mine.choice(['p', 'p', 'q'])}/r{mine.randrange(3)}"
                layers = [mine.choice(shared), mine.randbytes(mine.randrange(100, 4000))]
                try:
                    digest = await lab.image(name, f"t{number}-{step}", layers=layers)
                except RegistryError as error:
                    assert error.code == "DENIED", error
                    refused.append(error)
                    digest = ""
                if digest and mine.random() < 0.4:
                    await lab.content.delete_manifest(name, digest)
                elif digest:
                    pushed.append((name, digest))

        def usage(connection: Connection) -> int:
            query = select(quotas.c.used_storage).where(quotas.c.project_id == project)
            return int(connection.execute(query).scalar_one())

        async def watch() -> int:
            highest = 0
            while not over.is_set():
                highest = max(highest, await lab.db.read(usage))
                await asyncio.sleep(0.005)
            return highest

        watcher = asyncio.create_task(watch())
        lives = [life(number, random.Random(seed * 100 + number)) for number in range(12)]
        await asyncio.gather(*lives)
        over.set()
        assert await watcher <= LIMIT
        # `used` compares the sum with what is paid for; the last word has what is really held.
        for item in (project, other):
            used = await lab.used(item)
            before, after = await lab.db.write(lambda c, item=item: accounting.refresh(c, item))  # type: ignore[misc]
            assert before == after == used
        assert refused
        for error in refused:
            detail: dict[str, Any] = error.detail["storage"]
            assert detail["used"] + detail["requested"] > LIMIT
        for name, digest in pushed:
            await lab.content.manifest(name, digest)

    run(body)


def test_what_fits_exactly_is_taken(run: Run) -> None:
    """Sixteen pushes at once fill the last byte: nobody is refused wrongly, and nothing is left over."""

    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.db.write(lambda c: accounting.set_quota(c, project, 16 * 1000))
        await asyncio.gather(*(lab.blob(f"p/r{n % 4}", bytes([n]) * 1000) for n in range(16)))
        assert await lab.used(project) == 16 * 1000
        with pytest.raises(accounting.QuotaExceededError):
            await lab.blob("p/r0", b"x")
        # What the project has already costs nothing.
        await lab.blob("p/r1", bytes([0]) * 1000)
        count = await lab.db.read(lambda c: c.execute(select(func.count()).select_from(quotas)).scalar())
        assert count == 1

    run(body)
