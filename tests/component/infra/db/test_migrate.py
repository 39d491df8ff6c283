"""Migrations with several instances and several versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from seawall.infra.db import migrate, open_database
from seawall.kernel.errors import ConfigError
from tests.support.servers.postgres import Postgres

_NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tags", sa.Column("from_the_future", sa.Integer()))


def downgrade() -> None:
    op.drop_column("tags", "from_the_future")
"""


@pytest.fixture
def url(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if database_settings:
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path / 'm.db'}"


def _revision(url: str) -> str | None:
    return open_database(url, pool_size=1).sync_read(migrate.current)


def _set(url: str, statement: str) -> None:
    open_database(url, pool_size=1).sync_write(lambda c: c.execute(text(statement)))


def test_instances_that_start_together_migrate_once(postgres: Postgres) -> None:
    url = postgres.database()
    script = f"import seawall.process.tables; from seawall.infra.db import migrate; migrate.upgrade({url!r})"
    # Four processes at once; without the lock they fail on tables that are there already.
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert _revision(url) is not None


def test_migration_waits_for_transactions_and_does_not_block_them_for_long(postgres: Postgres) -> None:
    url = postgres.database()
    migrate.upgrade(url)
    scripts = Path(postgres.root).parent / f"{postgres.root.name}-scripts"
    db = open_database(url, pool_size=2)

    def hold(connection: Connection) -> None:
        # An ALTER TABLE cannot start while this transaction runs.
        connection.execute(text("SELECT * FROM tags"))
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from pathlib import Path; import seawall.process.tables;"
                "from seawall.infra.db import migrate;"
                "migrate.upgrade(sys.argv[1], scripts=Path(sys.argv[2]))",
                url,
                str(scripts),
            ]
        )
        started.append(process)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)

    started: list[subprocess.Popen[bytes]] = []
    try:
        _next_version(scripts)
        db.sync_write(hold)
        assert started[0].wait(60) == 0
        assert _revision(url) == "9999"
    finally:
        shutil.rmtree(scripts, ignore_errors=True)


def _next_version(scripts: Path) -> None:
    source = Path(migrate.__file__).parent / "migrations"
    shutil.copytree(source, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    head = max(path.name[:4] for path in (scripts / "versions").glob("[0-9]*.py"))
    (scripts / "versions" / "9999_next.py").write_text(_NEXT.format(head=head))


def test_older_version_beside_a_newer_one(url: str, tmp_path: Path) -> None:
    scripts = tmp_path / "next"
    _next_version(scripts)
    migrate.upgrade(url, scripts=scripts)
    assert _revision(url) == "9999"
    # The newer version only added something: this version starts, and leaves the schema alone.
    migrate.upgrade(url)
    assert _revision(url) == "9999"
    # A newer version that is no longer compatible says so.
    _set(url, "UPDATE schema_compatibility SET min_compatible = '9999'")
    with pytest.raises(ConfigError, match="database schema 9999 is newer than this Seawall"):
        migrate.upgrade(url)
    _set(url, "DELETE FROM schema_compatibility")
    with pytest.raises(ConfigError, match="newer"):
        migrate.upgrade(url)
