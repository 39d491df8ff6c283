"""What a site hands to its follower: changed rows as they are now, and bytes of blobs.

An answer is JSON lines: a head, for each table a line that names it and its columns and then its rows, for
each row that is gone its key, and a last line that tells a whole answer from a cut one. It is written to a
temporary file within one snapshot, so a slow link holds no transaction open.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from sqlalchemy import Connection, Table, select, tuple_

from seawall.availability.sites import state
from seawall.infra.db import changes, dump, migrate

_KEYS = 200


def write_changes(url: str, cursor: str | None, head: dict[str, Any]) -> IO[bytes]:
    """A file, at its start, with everything that changed after `cursor`, or everything there is.

    `head` goes into the first line, next to `cursor` (the next one), `full` and the schema's `revision`.
    """
    # The caller hands it to a response, which closes it.
    file = tempfile.TemporaryFile(prefix="seawall-dr-")  # noqa: SIM115
    with dump.snapshot(url) as connection:
        row = state.read(connection)
        head = {**head, "epoch": row and row["epoch"], "role": row and row["role"]}
        head["revision"] = migrate.current(connection)
        found = None if cursor is None else changes.since(connection, cursor)
        if found is None:
            head |= {"full": True, "cursor": changes.position(connection)}
            _line(file, head)
            count = sum(_rows(file, table, _all(connection, table)) for table in dump.tables())
        else:
            changed, following = found
            head |= {"full": False, "cursor": following, "changes": len(changed)}
            _line(file, head)
            count = _write_changed(file, connection, changed)
        _line(file, {"end": count})
    file.seek(0)
    return file


def _write_changed(file: IO[bytes], connection: Connection, changed: list[changes.Change]) -> int:
    keys: dict[str, list[dict[str, Any]]] = {}
    for change in changed:
        keys.setdefault(change.table, []).append(dict(change.key))
    count = 0
    for table in dump.tables():
        wanted = keys.get(table.name)
        if not wanted:
            continue
        names = [column.name for column in table.primary_key.columns]
        rows = list(rows_of(connection, table, wanted))
        count += _rows(file, table, iter(rows))
        position = [list(table.columns.keys()).index(name) for name in names]
        there = {tuple(row[i] for i in position) for row in rows}
        for key in wanted:
            if tuple(key[name] for name in names) not in there:
                _line(file, {"gone": table.name, "key": key})
                count += 1
    return count


def rows_of(connection: Connection, table: Table, keys: list[dict[str, Any]]) -> Iterator[Any]:
    """The rows of `table` that have one of `keys`."""
    columns = list(table.primary_key.columns)
    for start in range(0, len(keys), _KEYS):
        wanted = [tuple(key[column.name] for column in columns) for key in keys[start : start + _KEYS]]
        one = columns[0].in_([key[0] for key in wanted])
        yield from connection.execute(
            select(table).where(one if len(columns) == 1 else tuple_(*columns).in_(wanted))
        )


def _all(connection: Connection, table: Table) -> Iterator[Any]:
    query = select(table).order_by(*table.primary_key.columns)
    yield from connection.execution_options(yield_per=500).execute(query)


def _rows(file: IO[bytes], table: Table, rows: Iterator[Any]) -> int:
    count = 0
    for row in rows:
        if not count:
            _line(file, {"table": table.name, "columns": [column.name for column in table.columns]})
        _line(file, list(row))
        count += 1
    return count


def _line(file: IO[bytes], value: Any) -> None:
    file.write(json.dumps(value, separators=(",", ":"), default=dump.encode).encode() + b"\n")
