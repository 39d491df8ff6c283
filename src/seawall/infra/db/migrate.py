"""Schema migrations (Alembic), safe to start from many instances at once.

All steps of an upgrade are one transaction, on SQLite too: a start that is killed leaves the schema as it
was.

One instance migrates under a lock while the others wait for it. A rolling upgrade runs versions N and N+1
together: migrations only add, so N works on the schema of N+1, and `MIN_COMPATIBLE`, which N+1 leaves in the
database, tells an N that is started then that it may run. A later release that takes something away raises
the mark, and then an N refuses to start.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, literal, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import DropTable

from seawall.infra.db.faults import Fault, transient
from seawall.infra.db.metadata import all_tables
from seawall.infra.db.plain import postgres_engine
from seawall.infra.db.tables import schema_compatibility
from seawall.infra.file_lock import holder, lock_file
from seawall.infra.private import private_file
from seawall.kernel import progress
from seawall.kernel.errors import ConfigError

# The oldest schema revision whose code may run on the schema of this code. Raise it with a migration that
# removes or redefines what older code uses, one release after the code stopped using it.
MIN_COMPATIBLE = "0001"
# Any number that no other user of the same PostgreSQL database picks for pg_advisory_lock.
_LOCK = 0x5EA3A11
# An ALTER TABLE waits for running transactions, and new ones wait behind it: it must not wait long.
_LOCK_TIMEOUT = "3s"
_ATTEMPTS = 20
_CONNECT_SECONDS = 10
# How long an instance waits for the migration of another one before it says so.
_QUIET_SECONDS = 5


def upgrade(url: str, revision: str = "head", *, scripts: Path | None = None) -> None:
    """Bring the schema to `revision`; instances that start together wait for the one that migrates.

    A database that a newer Seawall has migrated is left as it is. Raises ConfigError when that newer one said
    that this version cannot run on it. `scripts`: another directory of migrations (tests).
    """
    _with_lock(url, lambda connection: _upgrade(connection, revision, scripts))


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to `revision` (`base` for none)."""
    _with_lock(url, lambda connection: command.downgrade(_config(connection, None), revision))


def current(connection: Connection) -> str | None:
    """The schema revision the database is at."""
    return MigrationContext.configure(connection).get_current_revision()


def foreign_tables(connection: Connection) -> str | None:
    """What else than Seawall has this database, in a sentence; None when nobody."""
    present = set(inspect(connection).get_table_names())
    if {"harbor_user", "project"} <= present and schema_compatibility.name not in present:
        return (
            "this is a Harbor's database, and nothing in it was changed: give Seawall an empty database of "
            "its own, and bring the content with `seawall migrate-from-harbor`"
        )
    return None


def upgrade_existing(url: str) -> bool:
    """`upgrade` where a Seawall has made its schema; False, and nothing is made, where none has."""
    if url.startswith("sqlite"):
        path = Path(make_url(url).database or "")
        if not path.is_file() or path.stat().st_size == 0:
            return False
    found = False

    def upgrade_there(connection: Connection) -> None:
        nonlocal found
        found = inspect(connection).has_table("alembic_version") and current(connection) is not None
        if found:
            _upgrade(connection, "head", None)

    _with_lock(url, upgrade_there)
    return found


def revisions() -> set[str]:
    """The schema revisions that this Seawall knows."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _upgrade(connection: Connection, revision: str, scripts: Path | None) -> None:
    config = _config(connection, scripts)
    scripts_of = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts_of.walk_revisions()}
    foreign = foreign_tables(connection)
    if foreign:
        raise ConfigError(foreign)
    at = current(connection)
    if at is None:
        _clear_remains(connection)
    if at is not None and at not in known:
        needed = _min_compatible(connection)
        if needed not in known:
            raise ConfigError(f"database schema {at} is newer than this Seawall; start the newer version")
        return
    steps = len(list(scripts_of.iterate_revisions(revision, at or "base")))
    done = itertools.count(1)
    config.attributes["on_version_apply"] = lambda **_: progress.step("migrations", next(done), steps)
    command.upgrade(config, revision)
    _mark(connection)


def _clear_remains(connection: Connection) -> None:
    """Drop the empty tables that a killed first start has left; raise ConfigError where they hold rows.

    Migrations are one transaction now; older ones on SQLite committed each statement.
    """
    present = set(inspect(connection).get_table_names())
    remains = [table for table in all_tables() if table.name in present]
    if not remains:
        return
    for table in remains:
        if table is schema_compatibility:
            continue  # the mark of a migration, not content
        if connection.execute(select(literal(1)).select_from(table).limit(1)).first() is not None:
            raise ConfigError(
                f"the database has Seawall's tables with rows in {table.name} but no schema revision; "
                "restore it from a backup, or start with an empty database"
            )
    for table in reversed(remains):
        connection.execute(DropTable(table))


def _min_compatible(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema_compatibility.name):
        return None
    return connection.execute(select(schema_compatibility.c.min_compatible)).scalar()


def _mark(connection: Connection) -> None:
    if not inspect(connection).has_table(schema_compatibility.name):
        return
    values = {"min_compatible": MIN_COMPATIBLE}
    if not connection.execute(update(schema_compatibility).values(values)).rowcount:
        connection.execute(schema_compatibility.insert().values(id=1, **values))


def _config(connection: Connection, scripts: Path | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts or Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _with_lock(url: str, run: Callable[[Connection], None]) -> None:
    if url.startswith("sqlite"):
        path = Path(make_url(url).database or "")
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        private_file(path)
        engine = create_engine(url)
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_immediate)
        # A lock file next to the database: SQLite's own lock cannot be held across several transactions.
        fd = os.open(f"{path}.migrate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                lock_file(fd, _QUIET_SECONDS)
            except TimeoutError:
                print(f"seawall: waiting until {holder(fd)} has migrated the database", file=sys.stderr)
                fcntl.flock(fd, fcntl.LOCK_EX)
            with engine.begin() as connection:
                run(connection)
        finally:
            os.close(fd)
            engine.dispose()
        return
    engine = postgres_engine(url, 1)
    try:
        with _connect(engine) as connection:
            until = time.monotonic() + _QUIET_SECONDS
            while not connection.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": _LOCK}).scalar():
                connection.commit()
                if time.monotonic() > until:
                    print(
                        "seawall: waiting until another instance has migrated the database", file=sys.stderr
                    )
                    connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": _LOCK})
                    break
                time.sleep(0.1)
            connection.commit()
            try:
                _patiently(connection, run)
            finally:
                # A broken connection has let go of the lock by itself.
                with contextlib.suppress(DBAPIError):
                    connection.rollback()
                    connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": _LOCK})
                    connection.commit()
    finally:
        engine.dispose()


def _leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
    # The driver begins no transaction before DDL, so each statement of a migration would commit by itself.
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect(engine: Engine) -> Connection:
    # An instance may start in the middle of a failover.
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            return engine.connect()
        except DBAPIError as error:
            if transient(error) is not Fault.LOST or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _patiently(connection: Connection, run: Callable[[Connection], None]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            run(connection)
            connection.commit()
            return
        except DBAPIError as error:
            # lock_not_available: let the transactions that queued behind us pass, then ask again.
            if getattr(error.orig, "sqlstate", None) != "55P03" or attempt == _ATTEMPTS - 1:
                raise
            connection.rollback()
            time.sleep(0.5)
