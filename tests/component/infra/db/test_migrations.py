"""Migrations and tables say the same, one after the other, up and down, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

import seawall.infra.db.migrations
from seawall.infra.db import migrate, open_database
from seawall.infra.db.metadata import metadata


@pytest.fixture
def url(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of this test's own."""
    if database_settings:
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path / 'm.db'}"


def test_one_line_of_revisions() -> None:
    script = ScriptDirectory(str(Path(next(iter(seawall.infra.db.migrations.__path__)))))
    assert len(script.get_heads()) == 1


def test_up_down_up(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    def names(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names())

    migrate.upgrade(url)
    db = open_database(url, pool_size=1)
    assert db.sync_read(differences) == []
    migrate.downgrade(url, "base")
    assert db.sync_read(names) <= {"alembic_version"}
    migrate.upgrade(url)
    assert db.sync_read(differences) == []
    asyncio.run(db.close())
