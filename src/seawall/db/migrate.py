"""Schema migrations (Alembic), safe to start from many instances at once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from seawall.db.engine import _postgres_engine
from seawall.errors import ConfigError

# Any number that no other user of the same PostgreSQL database picks for pg_advisory_lock.
_LOCK = 0x5EA3A11


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`; instances that start together wait for the one that migrates.

    Raises ConfigError when the database was migrated by a newer Seawall than this one.
    """
    _with_lock(url, lambda connection: _upgrade(connection, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to `revision` (`base` for none)."""
    _with_lock(url, lambda connection: command.downgrade(_config(connection), revision))


def current(connection: Connection) -> str | None:
    """The schema revision the database is at."""
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    at = current(connection)
    if at is not None and at not in known:
        raise ConfigError(f"database schema {at} is newer than this Seawall; start the newer version")
    command.upgrade(config, revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _with_lock(url: str, run: object) -> None:
    assert callable(run)
    if url.startswith("sqlite"):
        path = Path(make_url(url).database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
        # A lock file beside the database: SQLite's own lock cannot be held across several transactions.
        fd = os.open(f"{path}.migrate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with engine.connect() as connection:
                run(connection)
                connection.commit()
        finally:
            os.close(fd)
            engine.dispose()
        return
    engine = _postgres_engine(url, 1)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
            connection.commit()
            try:
                run(connection)
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})
                connection.commit()
    finally:
        engine.dispose()
