"""Which epoch a site takes that is promoted while the other one does not answer: never one that was taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from seawall.availability.sites import state
from seawall.infra.db import migrate, open_database
from seawall.infra.settings import DrSettings


@pytest.mark.parametrize(
    ("role", "epoch", "heard", "taken"),
    [
        # The other one is at 2 since this one gave way for it, and died before it could say so.
        (state.FENCED, 1, None, 3),
        (state.FENCED, 1, 1, 3),
        (state.FENCED, 1, 2, 3),
        # It was promoted twice while this one could not follow.
        (state.STANDBY, 1, 3, 4),
        (state.STANDBY, 2, None, 3),
        (state.STANDBY, 2, 2, 3),
    ],
)
def test_the_epoch_of_a_forced_promotion(
    tmp_path: Path, role: str, epoch: int, heard: int | None, taken: int
) -> None:
    url = f"sqlite:///{tmp_path}/db"
    migrate.upgrade(url)
    db = open_database(url)
    settings = DrSettings(site="a", peer="http://127.0.0.1:9", start_as="active")
    peer: dict[str, Any] | None = None if heard is None else {"site": "b", "role": "active", "epoch": heard}

    def promote() -> int:
        def work(connection: Any) -> int:
            state.begin(connection, settings)
            state.put(connection, role=role, epoch=epoch, peer=peer)
            state.lead(connection, "me", steal=True)
            row = state.read(connection)
            assert row is not None
            after = state.reached(row)
            state.reign(connection, "me", role, epoch, lease=None, heed=False, after=after)
            row = state.read(connection)
            assert row is not None
            return int(row["epoch"])

        return db.sync_write(work)

    assert promote() == taken
    asyncio.run(db.close())
