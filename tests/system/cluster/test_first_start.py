"""Instances that start together for the first time, on one empty PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from seawall.access.accounts import ensure_admin
from seawall.infra.db import migrate, open_database
from seawall.registry.projects import make_library
from tests.support.servers.postgres import Postgres


def test_one_of_them_makes_the_administrator(postgres: Postgres) -> None:
    url = postgres.database()
    migrate.upgrade(url)
    together = threading.Barrier(4)

    def start(_number: int) -> str | None:
        db = open_database(url, pool_size=2)
        try:
            together.wait(30)
            return ensure_admin(db, None, make_library)
        finally:
            asyncio.run(db.close())

    with ThreadPoolExecutor(4) as pool:
        passwords = list(pool.map(start, range(4)))
    assert len([password for password in passwords if password]) == 1
