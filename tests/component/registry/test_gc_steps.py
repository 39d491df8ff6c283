"""A collection looks at every row once, whatever it finds, and asks for the rows of files by an index."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.engine import Engine

from seawall.registry import garbage, gc
from seawall.registry.tables import blob_trash, blobs, repository_blobs
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run


async def collect(lab: Lab, *, reader_seconds: float = 0) -> gc.GcReport:
    storage = lab.services.storage
    return await gc.collect(
        lab.db, storage, grace_seconds=0, upload_seconds=3600, reader_seconds=reader_seconds
    )


@pytest.mark.parametrize(("look", "batch"), [(1, 1), (3, 2), (2, 5), (5, 3), (1000, 1000)])
def test_what_is_used_and_what_is_not_lie_side_by_side(
    run: Run, monkeypatch: pytest.MonkeyPatch, look: int, batch: int
) -> None:
    monkeypatch.setattr(garbage, "_LOOK", look)
    monkeypatch.setattr(garbage, "BATCH", batch)

    async def body(lab: Lab) -> None:
        await lab.project()
        used, unused = set(), set()
        for number in range(3):
            layers = [os.urandom(10 + number) for _ in range(3)]
            await lab.image(f"p/r{number}", "t", layers=layers)
            used |= {digest_of(data) for data in layers}
            for _ in range(4):
                unused.add(await lab.blob(f"p/r{number}", os.urandom(20)))
        report = await collect(lab)
        assert (report.links, report.blobs) == (12, 12)
        left = await lab.db.read(lambda c: set(c.execute(select(blobs.c.digest)).scalars()))
        links = await lab.db.read(lambda c: set(c.execute(select(repository_blobs.c.digest)).scalars()))
        assert used <= left == links
        assert not unused & left
        report = await collect(lab)
        assert (report.links, report.blobs) == (0, 0)
        trash = await lab.db.read(lambda c: c.execute(select(blob_trash)).all())
        assert trash == []
        for digest in used:
            key = await lab.db.read(
                lambda c, d=digest: c.execute(  # type: ignore[misc]
                    select(blobs.c.storage_key).where(blobs.c.digest == d)
                ).scalar_one()
            )
            assert await lab.services.storage.size(key) is not None

    run(body)


def test_files_of_every_kind_of_key_are_swept_only_without_a_row(run: Run) -> None:
    """A key has the blob's digest in it, but not the key of a large upload, which a blob may have too."""

    async def body(lab: Lab) -> None:
        storage = lab.services.storage
        named = os.urandom(16).hex() * 2
        keys = {
            "plain": f"{named}.sha256.00000001",
            "twin": f"{named}.sha256.00000002",
            "upload": "upload.0f1e2d3c-0000-4000-8000-000000000001.p1",
            "left": "upload.0f1e2d3c-0000-4000-8000-000000000002.p1",
            "odd": "somebody.elses",
            "trashed": f"{os.urandom(16).hex() * 2}.sha256.00000003",
        }
        for key in keys.values():
            await storage.put(key, b"x")
            old = time.time() - 7 * 86400
            os.utime(storage.locate(key).path or "", (old, old))
        rows = [
            {"digest": f"sha256:{named}", "storage_key": keys["plain"]},
            {"digest": f"sha256:{'1' * 64}", "storage_key": keys["upload"]},
        ]
        now = time.time()
        both = {"size": 1, "created_at": now + 9, "touched_at": now + 9}
        await lab.db.write(lambda c: c.execute(insert(blobs), [row | both for row in rows]))
        trashed = {"storage_key": keys["trashed"], "trashed_at": now}
        await lab.db.write(lambda c: c.execute(insert(blob_trash), [trashed]))
        report = await collect(lab, reader_seconds=900)
        assert report.orphan_files == 3
        left = {name for name, key in keys.items() if await storage.size(key) is not None}
        assert left == {"plain", "upload", "trashed"}

    run(body)


def test_no_table_is_read_whole_for_a_part_of_it(run: Run) -> None:
    """The plans of a collection's questions, where the planner has no reason to be careless."""

    async def body(lab: Lab) -> None:
        if lab.db.dialect != "postgresql":
            return
        await lab.project()
        for number in range(3):
            await lab.image(f"p/r{number}", "t")
            await lab.blob(f"p/r{number}", os.urandom(20))
        keys = [f"{os.urandom(16).hex() * 2}.sha256.00000001", "upload.x.p1", "tree.sha256." + "0" * 64]
        seen: list[tuple[str, Any]] = []

        def record(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, _many: bool) -> None:
            if re.search(r"\b(blobs|repository_blobs)\b", statement):
                seen.append((statement, parameters))

        event.listen(Engine, "before_cursor_execute", record)
        try:
            await collect(lab)
            await lab.db.read(lambda c: garbage.keys_in_use(c, keys))
        finally:
            event.remove(Engine, "before_cursor_execute", record)
        assert len(seen) >= 6

        def plans(connection: Any) -> list[str]:
            # Tables of a few rows are read whole; of many they would not be.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            found = []
            for statement, parameters in seen:
                lines = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
                found.append(statement + "\n" + "\n".join(lines))
            return found

        for plan in await lab.db.write(plans):
            assert not re.search(r"Seq Scan on (blobs|repository_blobs)", plan), plan
            # A walk over the whole index is no better; a look from where the last one stopped has a bound.
            assert not re.search(r"Hash (Anti )?Join", plan), plan

    run(body)
