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


def test_links_of_the_one_provider_go_on(url: str) -> None:
    """Revision 0012: who was known by issuer and subject is known so to the default source."""
    migrate.upgrade(url, "0011")
    db = open_database(url, pool_size=1)

    def link(connection: Connection) -> None:
        made = "sysadmin, created_at, updated_at) VALUES (7, 'ann', FALSE, 1, 1)"
        connection.exec_driver_sql(f"INSERT INTO users (id, username, {made}")
        connection.exec_driver_sql(
            "INSERT INTO oidc_users (user_id, issuer, subject, secret, created_at, updated_at) "
            "VALUES (7, 'https://id.example', 'sub', 'sealed', 2, 3)"
        )
        connection.exec_driver_sql(
            "INSERT INTO user_groups (name, type, created_at, updated_at) VALUES ('team', 3, 1, 1)"
        )

    db.sync_write(link)
    migrate.upgrade(url)

    def known(connection: Connection) -> tuple[list[tuple[object, ...]], object]:
        rows = connection.exec_driver_sql("SELECT * FROM user_identities").all()
        group = connection.exec_driver_sql("SELECT source FROM user_groups").scalar()
        return [tuple(row) for row in rows], group

    assert db.sync_read(known) == ([("", "https://id.example", "sub", 7, 7, 2.0, 3.0)], "")
    asyncio.run(db.close())


def test_registries_keep_what_belongs_to_them(url: str) -> None:
    """On SQLite, revision 0015 copies the table of registries."""
    migrate.upgrade(url, "0014")
    db = open_database(url, pool_size=1)

    def add(connection: Connection) -> None:
        columns = (
            "id, name, description, type, url, credential_type, access_key, insecure, status, created_at"
        )
        connection.exec_driver_sql(
            f"INSERT INTO registries ({columns}, updated_at) "
            "VALUES (3, 'hub', '', 'harbor', 'https://hub.example', 'basic', 'me', FALSE, 'healthy', 1, 1)"
        )
        given = (
            "name, description, dest_registry_id, dest_namespace, dest_namespace_replace_count, trigger_type"
        )
        flags = "filters, replicate_deletion, override, enabled, speed, copy_by_chunk, single_active"
        connection.exec_driver_sql(
            f"INSERT INTO replication_policies ({given}, {flags}, created_at, updated_at) VALUES "
            "('out', '', 3, '', 1, 'manual', '[]', FALSE, TRUE, TRUE, 0, FALSE, FALSE, 1, 1)"
        )

    db.sync_write(add)
    migrate.upgrade(url)

    def kept(connection: Connection) -> list[object]:
        joined = "replication_policies p JOIN registries r ON r.id = p.dest_registry_id"
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT p.name, access_key FROM {joined}")]

    assert db.sync_read(kept) == [("out", "me")]
    if url.startswith("postgresql"):
        collation = "SELECT collation_name FROM information_schema.columns WHERE table_name = 'registries'"
        query = f"{collation} AND column_name = 'access_key'"
        assert db.sync_read(lambda c: c.exec_driver_sql(query).scalar()) == "C"
    asyncio.run(db.close())
