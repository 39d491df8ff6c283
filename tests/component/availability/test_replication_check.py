"""`ha check` says beforehand that a promotion can lose what was acknowledged."""

from __future__ import annotations

import asyncio

from seawall.availability.cluster.check_services import _replication
from seawall.availability.cluster.report import CheckReport
from seawall.infra.db import migrate
from seawall.infra.db.postgres import PostgresDatabase
from tests.support.servers.postgres import PostgresPair


def found(db: PostgresDatabase) -> list[str]:
    report = CheckReport()

    async def look() -> None:
        await _replication(report, db)

    asyncio.run(look())
    return [fault.message for fault in report.faults]


def test_asynchronous_replication_is_named(postgres_pair: PostgresPair) -> None:
    url = postgres_pair.database()
    migrate.upgrade(url)
    db = PostgresDatabase(url, pool_size=2)
    assert found(db) == []
    for setting in ("synchronous_standby_names = ''", "synchronous_commit = local"):
        postgres_pair.primary.sql(f"ALTER SYSTEM SET {setting}")
        postgres_pair.primary.sql("SELECT pg_reload_conf()")
        (message,) = found(db)
        assert "asynchronously" in message
        assert "lose" in message
    asyncio.run(db.close())
