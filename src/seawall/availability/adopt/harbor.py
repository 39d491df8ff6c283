"""Harbor's database, read only: one snapshot, of schema versions from 2.8 to 2.16.

The facts are those of Harbor's migrations (`make/migrations/postgresql`): a version is the number of the last
one, 110 for 2.8.0 to 190 for 2.16.0. What an older version lacks is read as empty.
"""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from seawall.kernel.errors import ConfigError

Record = dict[str, Any]
OLDEST, NEWEST = 110, 190
_RELEASES = {
    110: "2.8",
    120: "2.9",
    130: "2.10",
    140: "2.11",
    150: "2.12",
    160: "2.13",
    170: "2.14",
    180: "2.15",
    190: "2.16",
}
# What must be there to call it a Harbor's database.
_NEEDED = {
    "harbor_user": {"user_id", "username", "password", "salt", "sysadmin_flag", "deleted"},
    "project": {"project_id", "name", "owner_id", "deleted"},
    "repository": {"repository_id", "name", "project_id"},
    "artifact": {"id", "repository_id", "digest", "manifest_media_type", "push_time"},
    "tag": {"id", "repository_id", "artifact_id", "name"},
}


class HarborDatabase:
    """One snapshot of a Harbor's database."""

    def __init__(self, connection: psycopg.Connection[Record]) -> None:
        """Raises ConfigError when it is not a Harbor's database, or of a version that is not known."""
        self._connection = connection
        self._columns = self._read_columns()
        self.version = self._check()
        self.release = _RELEASES[self.version // 10 * 10]

    def _read_columns(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        query = """SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = current_schema()"""
        for row in self._connection.execute(query):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def _check(self) -> int:
        if "schema_migrations" not in self._columns:
            raise ConfigError("the database has no schema_migrations: it is not a Harbor's")
        row = self._connection.execute("SELECT version, dirty FROM schema_migrations LIMIT 1").fetchone()
        version = int(row["version"]) if row else 0
        if row and row["dirty"]:
            raise ConfigError(
                f"an upgrade of the Harbor to schema version {version} has failed halfway; repair it first"
            )
        if not OLDEST <= version <= NEWEST or version // 10 * 10 not in _RELEASES:
            raise ConfigError(
                f"the Harbor's schema version is {version}; {OLDEST} (2.8) to {NEWEST} (2.16) are known: "
                + ("upgrade the Harbor first" if version < OLDEST else "take a newer Seawall")
            )
        for table, columns in _NEEDED.items():
            missing = sorted(columns - self._columns.get(table, set()))
            if missing:
                raise ConfigError(f"the database is not a Harbor's: {table} has no {', '.join(missing)}")
        return version

    @property
    def identity(self) -> str:
        """What tells this Harbor from others, wherever its database is moved to: when it was made."""
        made = [
            str(row.get("creation_time"))
            for table, key in (("harbor_user", "user_id"), ("project", "project_id"))
            for row in self.rows(table, order=key, where=f"{key} = 1")
        ]
        return hashlib.sha256("|".join(made).encode()).hexdigest()

    def rows(
        self, table: str, *, order: str, where: str = "TRUE", columns: tuple[str, ...] = ()
    ) -> list[Record]:
        """All rows of a table in the order of a column; none where this version has no such table.

        `where` is SQL of this package; `columns`: these only.
        """
        if table not in self._columns:
            return []
        wanted = sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*")
        query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
            wanted, sql.Identifier(table), sql.SQL(where), sql.Identifier(order)
        )
        return self._connection.execute(query).fetchall()

    def batches(
        self, table: str, *, order: str, where: str, values: tuple[Any, ...], size: int = 5000
    ) -> Iterator[list[Record]]:
        """`rows` in pieces, for tables that may be large."""
        if table not in self._columns:
            return
        query = sql.SQL("SELECT * FROM {} WHERE {} ORDER BY {}").format(
            sql.Identifier(table), sql.SQL(where), sql.Identifier(order)
        )
        with self._connection.cursor(name="adopt") as cursor:
            cursor.execute(query, values or None)
            while found := cursor.fetchmany(size):
                yield found

    def findings(self, reports: list[str]) -> list[Record]:
        """The findings of scan reports (by uuid); `report_uuid` says whose."""
        tables = {"report_vulnerability_record", "vulnerability_record"}
        if not reports or not tables <= self._columns.keys():
            return []
        query = """SELECT r.report_uuid, v.* FROM report_vulnerability_record r
            JOIN vulnerability_record v ON v.id = r.vuln_record_id
            WHERE r.report_uuid = ANY(%s) ORDER BY v.id"""
        return self._connection.execute(query, (reports,)).fetchall()

    def count(self, table: str) -> int:
        """How many rows a table has, 0 where this version has no such table."""
        if table not in self._columns:
            return 0
        query = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(table))
        row = self._connection.execute(query).fetchone()
        return int(row["n"]) if row else 0


@contextlib.contextmanager
def open_harbor(url: str) -> Iterator[HarborDatabase]:
    """A snapshot of the database at `url` (libpq's URL or key=value form), in a read-only transaction.

    Raises ConfigError with one line when it cannot be read.
    """
    try:
        connection = psycopg.connect(
            url, row_factory=dict_row, connect_timeout=10, application_name="seawall adopt-harbor"
        )
    except (psycopg.Error, UnicodeError) as error:
        raise ConfigError(f"the Harbor's database: {_line(error)}") from None
    try:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            yield HarborDatabase(connection)
        except psycopg.Error as error:
            raise ConfigError(f"the Harbor's database: {_line(error)}") from None
    finally:
        connection.close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def seconds(value: Any) -> float | None:
    """A time of Harbor's (UTC, without a zone) in Unix seconds; None for none, and for Go's zero time."""
    if not isinstance(value, datetime) or value.year < 1970:
        return None
    return calendar.timegm(value.utctimetuple()) + value.microsecond / 1e6


def parsed(text: Any, kind: type) -> Any:
    """The value of a JSON text of that kind; an empty one for any other text."""
    if isinstance(text, kind):
        return text
    try:
        found = json.loads(text) if text else kind()
    except (ValueError, TypeError, RecursionError):
        return kind()
    return found if isinstance(found, kind) else kind()
