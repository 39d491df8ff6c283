"""What the database says of itself, for a support bundle: version, sizes, slow statements.

Values in statements are left out: PostgreSQL's statistics have placeholders for them, and literals of
statements that run now are cut.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from seawall.infra.db.dialect import is_embedded

_VERSION = "SELECT version()"
_SETTINGS = (
    "SELECT name, setting, unit FROM pg_settings WHERE name IN ('max_connections', 'shared_buffers',"
    " 'work_mem', 'synchronous_commit', 'wal_level', 'max_wal_size', 'autovacuum', 'random_page_cost')"
    " ORDER BY name"
)
_TABLES = (
    "SELECT relname, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    " ORDER BY pg_total_relation_size(oid) DESC LIMIT 40"
)
_RUNNING = (
    "SELECT state, wait_event_type, wait_event,"
    " extract(epoch FROM now() - query_start)::float8 AS seconds, query"
    " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND state <> 'idle' ORDER BY query_start LIMIT 40"
)
_SLOW = (
    "SELECT calls, round(total_exec_time::numeric) AS total_ms, round(mean_exec_time::numeric, 2) AS mean_ms,"
    " round(max_exec_time::numeric) AS max_ms, rows, query FROM pg_stat_statements"
    " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " ORDER BY total_exec_time DESC LIMIT 40"
)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def activity(connection: Connection) -> dict[str, Any]:
    """Version, settings, sizes of tables, statements that run and those that took longest in all."""
    if is_embedded(connection):
        pages, size = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size")
        )
        return {"sqlite": connection.execute(text("SELECT sqlite_version()")).scalar(), "bytes": pages * size}
    found: dict[str, Any] = {"version": connection.execute(text(_VERSION)).scalar()}
    for name, query in (
        ("settings", _SETTINGS),
        ("tables", _TABLES),
        ("running", _RUNNING),
        ("slow_statements", _SLOW),
    ):
        try:
            with connection.begin_nested():
                rows = connection.execute(text(query)).mappings().all()
        except DBAPIError as error:
            # The extension pg_stat_statements is not there, or not for this user.
            found[name] = f"not available: {str(error.orig).splitlines()[0]}"
            continue
        found[name] = [
            {key: _plain(_LITERAL.sub("?", value) if key == "query" else value) for key, value in row.items()}
            for row in rows
        ]
    return found


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else float(value)
