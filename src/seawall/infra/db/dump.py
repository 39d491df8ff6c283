"""All rows as JSON lines, out of one database and into another, whichever kind either is.

A dump is one consistent snapshot (PostgreSQL: REPEATABLE READ, SQLite: one read transaction), taken while
others write. A file a table: the first line names the columns, each further line is a row. Bytes are
`{"$bytes": base64}`; every other value of the schema is JSON already.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, insert, inspect, make_url, select, text
from sqlalchemy.pool import NullPool

from seawall.infra.db import dialect, migrate
from seawall.infra.db.metadata import all_tables
from seawall.infra.db.plain import postgres_engine
from seawall.infra.private import open_private
from seawall.kernel.errors import ConfigError

_BATCH = 500


def tables() -> list[Table]:
    """The tables of a dump, each after those it refers to.

    Left out is what belongs to a running cluster only: instances and their leases, logins, half-finished
    uploads (their bytes are not part of a backup), what a site is to another, marks that the database's own
    migrations write, and counts kept by triggers.
    """
    return [table for table in all_tables() if table.info.get("dumped", True)]


@contextlib.contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A connection all of whose reads see the database as it is now."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
            connection.exec_driver_sql("BEGIN")
            # The snapshot is taken by the first read, not by BEGIN.
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
            yield connection
        engine.dispose()
        return
    engine = postgres_engine(url, 1)
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            connection.execute(text("SELECT 1"))
            yield connection
    finally:
        engine.dispose()


def write_tables(connection: Connection, directory: Path) -> dict[str, dict[str, Any]]:
    """Write every table below `directory`, fsynced; returns rows and sha256 of each file by table name."""
    directory.mkdir(parents=True, exist_ok=True)
    return {table.name: _write_table(connection, table, directory) for table in tables()}


def _write_table(connection: Connection, table: Table, directory: Path) -> dict[str, Any]:
    digest, rows = hashlib.sha256(), 0
    path = directory / f"{table.name}.jsonl"
    with open_private(path, "wb") as file:

        def line(value: Any) -> None:
            data = json.dumps(value, separators=(",", ":"), default=encode).encode() + b"\n"
            digest.update(data)
            file.write(data)

        line([column.name for column in table.columns])
        query = select(table).order_by(*table.primary_key.columns)
        for row in connection.execution_options(yield_per=_BATCH).execute(query):
            line(list(row))
            rows += 1
        file.flush()
        os.fsync(file.fileno())
    return {"rows": rows, "sha256": digest.hexdigest()}


def encode(value: Any) -> Any:
    """For `json.dumps`: bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def read_rows(directory: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one table's file."""
    with (directory / f"{name}.jsonl").open() as file:
        columns = json.loads(file.readline())
        for line in file:
            yield dict(zip(columns, map(decode, json.loads(line)), strict=True))


def decode(value: Any) -> Any:
    """The reverse of `encode`."""
    if isinstance(value, dict) and value.keys() == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value


def check_empty(url: str) -> None:
    """Raises ConfigError when the database has a row already."""
    if url.startswith("sqlite") and not Path(make_url(url).database or "").exists():
        return  # connecting would make it
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            _check_unused(connection)
    finally:
        engine.dispose()


def _check_unused(connection: Connection) -> list[Table]:
    """The tables of the dump that are there and have no row. A killed restore leaves them so."""
    names = set(inspect(connection).get_table_names())
    there = [table for table in tables() if table.name in names]
    if any(connection.execute(select(1).select_from(table).limit(1)).first() for table in there):
        raise ConfigError("the database is not empty; restore goes into a new one, while no instance uses it")
    return there


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool) if url.startswith("sqlite") else postgres_engine(url, 1)


def load_tables(url: str, directory: Path, revision: str, storage_keys: dict[str, str]) -> None:
    """Fill the empty database at `url`: schema of the dump's `revision`, then all rows at once, then migrate.

    `storage_keys` maps the keys that blobs had to those they have now. Raises ConfigError when a table has a
    row already, or the schema is another revision's. An instance that starts meanwhile waits for the rows.
    """
    check_empty(url)
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            found = migrate.current(connection)
        if found not in (None, revision):
            raise ConfigError(f"the database has the schema {found}, not {revision}; restore into a new one")
        migrate.upgrade(url, revision)
        with engine.begin() as connection:
            dialect.allow_long(connection)
            dialect.lock_all(connection, inspect(connection).get_table_names())
            dialect.defer_foreign_keys(connection)
            for table in _check_unused(connection):
                if (directory / f"{table.name}.jsonl").exists():
                    _load_table(connection, table, directory, storage_keys)
    finally:
        engine.dispose()
    migrate.upgrade(url)


def _load_table(connection: Connection, table: Table, directory: Path, storage_keys: dict[str, str]) -> None:
    batch: list[dict[str, Any]] = []
    for row in read_rows(directory, table.name):
        if table.name == "blobs":
            row["storage_key"] = storage_keys.get(row["storage_key"], row["storage_key"])
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(insert(table), batch)
            batch = []
    if batch:
        connection.execute(insert(table), batch)
    dialect.advance_sequences(connection, [table])
