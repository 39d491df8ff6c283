"""What is built on an image: how much is read for it."""

from __future__ import annotations

import tracemalloc

import pytest

from seawall.access.principal import EVERYONE
from seawall.infra.db.listing import Page
from seawall.registry import holders
from seawall.registry.artifacts import Artifact, artifacts
from seawall.registry.tables import manifests
from tests.support.lab import Lab, Run


async def _artifact(lab: Lab, digest: str) -> Artifact:
    query = artifacts(brief=True).where(manifests.c.digest == digest)
    return await lab.db.read(lambda c: Artifact(*c.execute(query).one()))


async def _built_on(lab: Lab, base: str) -> holders.Holders:
    artifact = await _artifact(lab, base)
    return await lab.db.read(lambda c: holders.built_on(c, EVERYONE, artifact, Page(1, 100, [])))


def test_large_manifests_are_not_all_in_memory(run: Run) -> None:
    async def check(lab: Lab) -> None:
        await lab.project()
        base = await lab.image("p/base", "1", layers=[b"one"])
        for number in range(15):
            note = {"number": str(number), "large": "x" * 3_900_000}
            await lab.image("p/app", str(number), layers=[b"one"], annotations=note)
        tracemalloc.start()
        try:
            found = await _built_on(lab, base)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found.total == 15
        assert peak < 30_000_000, peak

    run(check)


def test_all_images_of_an_index_share_what_may_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "_MOST_READ", 10)

    async def check(lab: Lab) -> None:
        await lab.project()
        bases = [await lab.image("p/base", None, layers=[name, b"all"]) for name in (b"a", b"b", b"c")]
        index = await lab.index("p/base", "1", bases)
        for name in (b"a", b"b", b"c"):
            await lab.image("p/app", name.decode(), layers=[name, b"all", b"more"])
        # Three of the index, and six for the layer that each of its images has last: too many for all three.
        found = await _built_on(lab, index)
        assert found.total == -1
        assert 1 <= len(found.rows) < 3
        monkeypatch.setattr(holders, "_MOST_READ", 3 + 3 * 6)
        found = await _built_on(lab, index)
        assert (found.total, len(found.rows)) == (3, 3)
        # A bound of bytes as well.
        monkeypatch.setattr(holders, "_MOST_BYTES", 1000)
        assert (await _built_on(lab, index)).total == -1

    run(check)
