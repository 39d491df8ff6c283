"""Rows that are inserted once: what tells a request that is sent again from a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from seawall.access.tables import login_failures
from seawall.availability.peers.nonces import is_new
from seawall.availability.sites.state import first_use
from seawall.infra.db.dialect import added
from tests.support.lab import Lab


def test_the_first_is_told_from_the_others(run: Callable[..., None]) -> None:
    async def body(lab: Lab) -> None:
        row = {"key": "k", "failures": 0, "last_at": 1.0}
        found = [await lab.db.write(lambda c: added(c, login_failures, row, "key")) for _ in range(2)]
        assert found == [True, False]
        # Signed requests of peers and of the other site.
        assert sorted(await asyncio.gather(*(is_new(lab.db, "n") for _ in range(3)))) == [False, False, True]
        uses = [await lab.db.write(lambda c: first_use(c, "n", lab.db.now())) for _ in range(2)]
        assert uses == [True, False]

    run(body)
