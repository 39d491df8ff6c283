"""A standby that cannot write says so, though it cannot note it: its disk is full."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from seawall.availability.sites import state
from seawall.availability.sites.service import DrService
from seawall.infra.db import migrate, open_database
from seawall.infra.loading import load
from seawall.infra.storage import FilesystemStorage


def test_a_standby_that_applies_nothing_is_not_up_to_date(tmp_path: Path) -> None:
    settings = load(
        None,
        {
            "data_dir": tmp_path,
            "dr": {"site": "b", "start_as": "standby", "peer": "http://127.0.0.1:9", "timeout_seconds": 1},
        },
    )
    migrate.upgrade(settings.database_url)
    db = open_database(settings.database_url)

    async def look(age: float) -> tuple[object, object]:
        def followed(connection: object) -> None:
            state.put(connection, complete=True, behind=0, synced_at=time.time() - age, syncing="following")  # type: ignore[arg-type]

        await db.write(followed)
        told = await service.status()
        return told["behind_changes"], told["error"]

    async def work() -> None:
        await db.write(lambda c: state.begin(c, settings.dr))
        assert await look(1) == (0, None)
        behind, error = await look(3600)
        assert behind is None
        assert "nothing was applied for" in str(error)
        await db.close()

    service = DrService(db, FilesystemStorage(tmp_path / "blobs"), settings)
    asyncio.run(work())
