"""A user that a peer removed is forgotten here too."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from seawall.access import users
from seawall.access.erasure import KIND, Erasure
from seawall.availability.peers.documents import Names
from seawall.availability.peers.kinds import KINDS
from seawall.availability.peers.model import Context
from seawall.features.audit.erase import EraseUser
from seawall.features.audit.tables import audit_log
from seawall.infra.db import migrate, open_database
from seawall.infra.jobs.service import JobService
from seawall.infra.jobs.tables import jobs
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import GdprSettings, Settings


class _Quiet:
    """What a job is given."""

    async def log(self, text: str) -> None:
        """Nobody reads it."""

    async def checkpoint(self) -> None:
        """Nobody stops it."""


def test_a_deletion_of_a_peer_orders_the_work(tmp_path: Path) -> None:
    asyncio.run(_remove_as_a_peer_does(tmp_path))


async def _remove_as_a_peer_does(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/seawall.db"
    await asyncio.to_thread(migrate.upgrade, url)
    db = open_database(url)
    try:
        settings = Settings(data_dir=tmp_path, gdpr=GdprSettings(audit_logs=True))
        keys = KeyRing.open(db, settings)
        erasure = Erasure.of(settings, keys)
        context = Context(keys, JobService(db), erasure)

        def remove_as_peer(connection: Connection) -> list[Any]:
            for name in ("first", "ann", "bob"):
                users.create(connection, name, None)
            entry = {"at": time.time(), "address": "", "operation": "pull", "resource_type": "artifact"}
            entry |= {"resource": "p/a:1", "description": "", "success": True}
            connection.execute(insert(audit_log), [{**entry, "username": name} for name in ("ann", "bob")])
            kind = KINDS["user"]
            row = kind.find(connection, ["ann"], Names(KINDS))
            kind.drop(connection, context, row)
            assert kind.find(connection, ["ann"], Names(KINDS)) is None
            query = select(jobs.c.args).where(jobs.c.kind == KIND)
            return list(connection.execute(query).scalars())

        orders = await db.write(remove_as_peer)
        assert len(orders) == 2
        assert "ann" not in str(orders)
        assert await EraseUser(db, erasure, ()).run(_Quiet(), orders[0]) == 1  # type: ignore[arg-type]
        names = await db.read(lambda c: list(c.execute(select(audit_log.c.username)).scalars()))
        assert sorted(names) == ["bob", erasure.pseudonym("ann")]
    finally:
        await db.close()
