"""Commands bring the schema of a registry up to date, and make none where there is no registry."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from seawall.infra.db import migrate


def test_nothing_is_made_where_there_is_no_registry(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "seawall.db"
    assert not migrate.upgrade_existing(f"sqlite:///{missing}")
    assert not missing.parent.exists()
    empty = tmp_path / "empty.db"
    empty.touch()
    assert not migrate.upgrade_existing(f"sqlite:///{empty}")
    assert empty.stat().st_size == 0


def test_a_database_of_others_stays_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE things (id INTEGER)")
        connection.commit()
    before = other.read_bytes()
    assert not migrate.upgrade_existing(f"sqlite:///{other}")
    assert other.read_bytes() == before


def test_a_registry_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "seawall.db"
    url = f"sqlite:///{file}"
    migrate.upgrade(url, "0001")
    assert migrate.upgrade_existing(url)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        at = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    assert at in migrate.revisions()
    assert migrate.upgrade_existing(url)
