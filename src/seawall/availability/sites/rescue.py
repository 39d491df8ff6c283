"""What an old active acknowledged and the new one never received: carried over or listed.

The old active knows from its change feed which rows came after the last round that the new active followed.
Before it becomes a standby, and so loses them, it hands each over. The new active takes what is new to it
and what only the old one changed: artifacts by a push that no quota or rule refuses (their blobs fetched from
the old site), tags, and rows of users, projects, policies and so on by their natural key. Where both changed
the same thing the new active's stays; the other is kept under its digest, or listed with its content. Each
outcome is a row of `dr_divergences`, which both sites then have. Handing over twice, after a break, changes
nothing. This module is the old active's part; `seawall.availability.sites.intake` is the new one's.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import structlog
from sqlalchemy import (
    Connection,
    Index,
    Table,
    UniqueConstraint,
    select,
)

from seawall.availability.sites import ship
from seawall.availability.sites.wire import Peer
from seawall.infra.db import changes, dump
from seawall.infra.db.metadata import metadata
from seawall.registry.tables import manifest_payloads, manifests, repositories, repository_blobs, tags

log: Any = structlog.get_logger("seawall.dr")

_CONTENT = {
    "blobs",
    "manifest_payloads",
    "manifest_references",
    "manifests",
    "project_blobs",
    "repositories",
    "repository_blobs",
    "tags",
}
# Made again by what is carried, or the record of work that the new active does not go on with.
_DERIVED = {
    "audit_intents",
    "job_logs",
    "job_numbers",
    "job_queues",
    "jobs",
    "outbox",
    "quota_changes",
    "replication_executions",
    "replication_tasks",
    "retention_executions",
    "retention_tasks",
    "scan_exports",
    "scan_findings",
    "scan_inventories",
    "scan_layers",
    "scan_reports",
    "scan_requests",
    "scan_runs",
    "storage_days",
    "webhook_deliveries",
}
# A part of such a chain is worth nothing, so it is listed whole.
CHAINS = {"tuf_changes", "tuf_keys", "tuf_metadata"}
_NATURAL = {"labels": ["project_id", "name"]}
# Columns that refer to another table without a constraint.
_SOFT = {("projects", "registry_id"): "registries"}
_CHUNK = 2 * 1024 * 1024


class Rescue:
    """The old active's part."""

    def __init__(self, database_url: str, peer: Peer, site: str) -> None:
        """`peer` is the new active, `site` the name of this one."""
        self._url = database_url
        self._peer = peer
        self._site = site

    async def run(self, seen: dict[str, Any]) -> None:
        """Hand over everything since the new active (`seen`: its `info`) last followed.

        Raises UnavailableError or PreconditionError when the other side does not take it now.
        """
        items = await asyncio.to_thread(lambda: list(gather(self._url, seen.get("base"))))
        told = 0
        for part in _parts(items):
            answer = await self._peer.ask("rescue", 600.0, items=part, site=self._site)
            told += int(answer["recorded"])
        if items:
            log.warning("handed over what the new active had not received", items=len(items), recorded=told)


def _parts(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    size = 0
    for item in items:
        part.append(item)
        size += len(json.dumps(item))
        if size > _CHUNK or len(part) == 50:
            yield part
            part, size = [], 0
    if part:
        yield part


def gather(url: str, base: str | None) -> Iterator[dict[str, Any]]:
    """The items to hand over: rows first, from the roots down, then artifacts, oldest first."""
    with dump.snapshot(url) as connection:
        cursor = None if base is None else json.loads(base)["cursor"]
        found = None if cursor is None else changes.since(connection, cursor)
        # The log does not reach back: what the other side lacks may have been deleted there.
        unsure = cursor is not None and found is None
        wanted: dict[str, list[dict[str, Any]]] = {}
        if found is None:
            for table in dump.tables():
                keys = list(table.primary_key.columns)
                rows = connection.execute(select(*keys).order_by(*keys)).mappings()
                wanted[table.name] = [dict(row) for row in rows]
        else:
            for change in found[0]:
                wanted.setdefault(change.table, []).append(dict(change.key))
        for table in dump.tables():
            if table.name in wanted and table.name not in _CONTENT:
                for item in _rows(connection, table, wanted[table.name]):
                    yield {**item, "unsure": unsure}
        for item in _artifacts(connection, wanted):
            yield {**item, "unsure": unsure}


def _rows(connection: Connection, table: Table, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if table.name in _DERIVED:
        yield {"kind": "derived", "table": table.name, "rows": len(keys)}
        return
    names = [column.name for column in table.primary_key.columns]
    there = set()
    for row in ship.rows_of(connection, table, keys):
        value = dict(row._mapping)
        there.add(tuple(value[name] for name in names))
        yield {
            "kind": "row",
            "table": table.name,
            "row": encoded(value),
            "refs": {
                column: _reference(connection, parent, value[column])
                for column, parent in _parents(table)
                if value[column] is not None
            },
        }
    for key in keys:
        if tuple(key[name] for name in names) not in there:
            yield {"kind": "gone", "table": table.name, "key": encoded(key)}


def _artifacts(connection: Connection, wanted: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    every = select(repositories.c.id, repositories.c.name)
    names: dict[int, str] = {row[0]: row[1] for row in connection.execute(every)}
    ids = {key["id"] for key in wanted.get("manifests", [])}
    moved: dict[int, list[str]] = {}
    tagged = set()
    for row in ship.rows_of(connection, tags, wanted.get("tags", [])):
        moved.setdefault(row.manifest_id, []).append(row.name)
        tagged.add((row.repository_id, row.name))
    named = set[tuple[int, str]]()
    for item in sorted(ids | moved.keys()):
        row = connection.execute(
            select(manifests, manifest_payloads.c.payload)
            .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
            .where(manifests.c.id == item)
        ).first()
        if row is None:
            yield {"kind": "gone", "table": "manifests", "key": {"id": item}}
            continue
        payload = bytes(row.payload)
        named.update((row.repository_id, digest) for digest in digests_in(payload))
        yield {
            "kind": "artifact",
            "repository": names[row.repository_id],
            "digest": row.digest,
            "media_type": row.media_type,
            "payload": base64.b64encode(payload).decode(),
            "tags": sorted(moved.get(item, [])),
        }
    for key in wanted.get("tags", []):
        if (key["repository_id"], key["name"]) not in tagged and key["repository_id"] in names:
            yield {"kind": "gone", "table": "tags", "key": key, "repository": names[key["repository_id"]]}
    for row in ship.rows_of(connection, repository_blobs, wanted.get("repository_blobs", [])):
        if (row.repository_id, row.digest) not in named:
            yield {"kind": "blob", "repository": names[row.repository_id], "digest": row.digest}


def digests_in(payload: bytes) -> set[str]:
    """Digests of the blobs that a manifest names."""
    try:
        document = json.loads(payload)
    except ValueError:
        return set()
    # An index names blobs too (BuildKit's cache does); a child manifest's digest is not a blob's.
    lists = [document.get(key) or [] for key in ("layers", "blobs", "manifests")]
    entries = [document.get("config"), *itertools.chain.from_iterable(lists)]
    return {str(entry["digest"]) for entry in entries if isinstance(entry, dict) and "digest" in entry}


def encoded(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can carry it."""
    binary = (bytes, bytearray, memoryview)
    return {k: dump.encode(v) if isinstance(v, binary) else v for k, v in row.items()}


def _parents(table: Table) -> list[tuple[str, Table]]:
    found = [(key.parent.name, key.column.table) for key in table.foreign_keys]
    return found + [(c, metadata.tables[p]) for (t, c), p in _SOFT.items() if t == table.name]


def natural(table: Table, row: dict[str, Any]) -> list[str] | None:
    """The columns by which a row is known whatever its id; None: it has nothing of that kind."""
    if table.name in _NATURAL:
        return _NATURAL[table.name]
    sets = [
        [c.name for c in item.columns] for item in table.constraints if isinstance(item, UniqueConstraint)
    ]
    sets += [
        [c.name for c in item.columns] for item in table.indexes if isinstance(item, Index) and item.unique
    ]
    sets += [[column.name] for column in table.columns if column.unique]
    for names in sorted(sets, key=lambda names: (len(names), names)):
        if all(row.get(name) is not None for name in names):
            return names
    if table.autoincrement_column is None:
        return [column.name for column in table.primary_key.columns]
    return None


def _reference(connection: Connection, table: Table, value: Any) -> dict[str, Any] | None:
    """Natural key of the row of `table` whose id is `value`."""
    key = next(iter(table.primary_key.columns))
    row = connection.execute(select(table).where(key == value)).mappings().first()
    if row is None:
        return None
    names = natural(table, dict(row))
    if names is None:
        return None
    refs = {
        column: _reference(connection, parent, row[column])
        for column, parent in _parents(table)
        if column in names and row[column] is not None
    }
    return {"table": table.name, "key": encoded({name: row[name] for name in names}), "refs": refs}
