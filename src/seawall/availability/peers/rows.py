"""Writing rows that may be there already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from seawall.infra.db.dialect import upsert


def insert_once(connection: Connection, table: Any, values: dict[str, Any], keys: list[str]) -> None:
    """Insert a row unless one with those keys is there."""
    connection.execute(upsert(connection, table, values, keys))


def put_row(
    connection: Connection,
    table: Any,
    key: dict[str, Any],
    changes_: dict[str, Any],
    first: dict[str, Any] | None = None,
) -> None:
    """Insert the row of that key or change it; `first`: values that only a new row gets."""
    values = {**key, **changes_, **(first or {})}
    connection.execute(upsert(connection, table, values, list(key), changes_))
