"""Write what the active site sent into this site's tables."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import IO, Any

from sqlalchemy import JSON, Connection, Table, bindparam, delete, insert, select, tuple_
from sqlalchemy.exc import IntegrityError

from seawall.access.tables import sessions
from seawall.availability.sites.tables import dr_blobs
from seawall.infra.db import dialect, dump
from seawall.infra.db.metadata import metadata
from seawall.registry.tables import blob_trash, blobs

_BATCH = 500


class ResyncError(Exception):
    """The changes do not fit what is here: start again from a snapshot."""


class Gone(dict[str, Any]):
    """The key of a row that is no more."""


def lines(file: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Table and row of each line after the head, from the start; a row that was deleted is a Gone."""
    file.seek(0)
    file.readline()
    name, columns = "", list[str]()
    for line in file:
        item = json.loads(line)
        if isinstance(item, list):
            yield name, dict(zip(columns, map(dump.decode, item), strict=True))
        elif "table" in item:
            name, columns = item["table"], item["columns"]
        elif "gone" in item:
            yield item["gone"], Gone(item["key"])


def _bound(table: Table, names: list[str]) -> dict[str, Any]:
    # Otherwise a missing JSON value would become the JSON text `null`, which is not NULL.
    missing = JSON(none_as_null=True)
    return {
        name: bindparam(name, type_=missing if isinstance(table.columns[name].type, JSON) else None)
        for name in names
    }


def _fit(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in table.columns}


def _keys_here(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Give rows of `blobs` the keys that their bytes have at this site."""
    digests = [row["digest"] for row in rows]
    keys: dict[str, str] = {}
    for table in (dr_blobs, blobs):
        query = select(table.c.digest, table.c.storage_key).where(table.c.digest.in_(digests))
        keys |= {row[0]: row[1] for row in connection.execute(query)}
    for row in rows:
        if row["digest"] not in keys:
            raise ResyncError(f"no bytes of {row['digest']}")
        row["storage_key"] = keys[row["digest"]]
    _take_over(connection, digests)


def _take_over(connection: Connection, digests: list[str]) -> None:
    """What was fetched and is named now leaves `dr_blobs`; a second copy goes to the trash."""
    taken = dr_blobs.c.digest.in_(digests)
    twice = (
        connection.execute(
            select(dr_blobs.c.storage_key).where(
                taken, dr_blobs.c.digest.in_(select(blobs.c.digest).where(blobs.c.digest.in_(digests)))
            )
        )
        .scalars()
        .all()
    )
    _trash(connection, list(twice))
    connection.execute(delete(dr_blobs).where(taken))


def _trash(connection: Connection, keys: list[str]) -> None:
    if keys:
        now = time.time()
        connection.execute(insert(blob_trash), [{"storage_key": key, "trashed_at": now} for key in keys])


def apply_full(connection: Connection, file: IO[bytes]) -> int:
    """Make the tables equal to a snapshot."""
    dialect.defer_foreign_keys(connection)
    before: dict[str, str] = {
        row[0]: row[1] for row in connection.execute(select(blobs.c.digest, blobs.c.storage_key))
    }
    logins = [dict(row) for row in connection.execute(select(sessions)).mappings()]
    for table in reversed(dump.tables()):
        connection.execute(delete(table))
    count, batch, at = 0, list[dict[str, Any]](), ""

    def flush() -> None:
        nonlocal count
        table = metadata.tables.get(at)
        if batch and table is not None:
            if at == "blobs":
                _place(connection, batch, before)
            rows = [_fit(table, row) for row in batch]
            connection.execute(insert(table).values(_bound(table, list(rows[0]))), rows)
            count += len(batch)
        batch.clear()

    for name, row in lines(file):
        if name != at or len(batch) == _BATCH:
            flush()
            at = name
        batch.append(row)
    flush()
    _trash(connection, list(before.values()))
    users = set(connection.execute(select(metadata.tables["users"].c.id)).scalars())
    kept = [row for row in logins if row["user_id"] in users]
    if kept:
        connection.execute(insert(sessions), kept)
    return count


def _place(connection: Connection, rows: list[dict[str, Any]], before: dict[str, str]) -> None:
    digests = [row["digest"] for row in rows]
    query = select(dr_blobs.c.digest, dr_blobs.c.storage_key).where(dr_blobs.c.digest.in_(digests))
    fetched: dict[str, str] = {row[0]: row[1] for row in connection.execute(query)}
    twice = []
    for row in rows:
        key = before.pop(row["digest"], None)
        if key is not None and row["digest"] in fetched:
            twice.append(fetched[row["digest"]])
        key = key or fetched.get(row["digest"])
        if key is None:
            raise ResyncError(f"no bytes of {row['digest']}")
        row["storage_key"] = key
    _trash(connection, twice)
    connection.execute(delete(dr_blobs).where(dr_blobs.c.digest.in_(digests)))


def apply_changes(connection: Connection, file: IO[bytes]) -> int:
    """Apply changed rows: what is gone from the leaves up, what is there from the roots down."""
    changed: dict[str, list[dict[str, Any]]] = {}
    gone: dict[str, list[dict[str, Any]]] = {}
    for name, row in lines(file):
        (gone if isinstance(row, Gone) else changed).setdefault(name, []).append(row)
    tables = dump.tables()
    for table in reversed(tables):
        if table.name in gone:
            _delete(connection, table, gone[table.name])
    for table in tables:
        rows = [_fit(table, row) for row in changed.get(table.name, [])]
        if not rows:
            continue
        if table is blobs:
            for start in range(0, len(rows), _BATCH):
                _keys_here(connection, rows[start : start + _BATCH])
        _upsert(connection, table, rows)
    return sum(map(len, changed.values())) + sum(map(len, gone.values()))


def _delete(connection: Connection, table: Table, keys: list[dict[str, Any]]) -> None:
    columns = list(table.primary_key.columns)
    for start in range(0, len(keys), 200):
        part = [tuple(key[column.name] for column in columns) for key in keys[start : start + 200]]
        one = columns[0].in_([key[0] for key in part])
        where = one if len(columns) == 1 else tuple_(*columns).in_(part)
        if table is blobs:
            _trash(connection, list(connection.execute(select(blobs.c.storage_key).where(where)).scalars()))
        connection.execute(delete(table).where(where))


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    query = _upsert_query(connection, table, list(rows[0]))
    try:
        with connection.begin_nested():
            for start in range(0, len(rows), _BATCH):
                connection.execute(query, rows[start : start + _BATCH])
        return
    except IntegrityError:
        pass
    # A unique value that one row gives up and another takes: those that fail wait for the others.
    left = rows
    while left:
        failed = []
        for row in left:
            try:
                with connection.begin_nested():
                    connection.execute(query, row)
            except IntegrityError:
                failed.append(row)
        if len(failed) == len(left):
            raise ResyncError(f"{len(left)} rows of {table.name} fit nowhere")
        left = failed


def _upsert_query(connection: Connection, table: Table, names: list[str]) -> Any:
    keys = [column.name for column in table.primary_key.columns]
    others = [name for name in names if name not in keys]
    return dialect.upsert(connection, table, _bound(table, names), keys, others)
