"""The tables of imported advisories: what a file had is written, what it no longer has is removed."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from seawall.features.scan.advisories import Advisory
from seawall.features.scan.tables import advisories, advisory_cves, advisory_packages, advisory_sources
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.kernel import progress
from seawall.kernel.errors import InvalidError, NotFoundError

_BATCH = 500
# Raised when advisories are stored in another way, so that the next import writes them all again.
_REVISION = b"2"
_decoder = msgspec.msgpack.Decoder(tuple[str, Advisory])


@dataclass(slots=True)
class Result:
    """What an import did, for one source."""

    source: str
    total: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Item:
    """A record: its hash, and how to read it (only when the hash is not known). `load` may raise."""

    hash: str
    name: str
    load: Callable[[], Advisory]


def same(advisory: Advisory) -> Advisory:
    """The advisory itself, for sources that come decoded."""
    return advisory


def hash_of(data: bytes) -> str:
    """SHA-256 by which the next import knows what has not changed."""
    return hashlib.sha256(_REVISION + data).hexdigest()


def _known(connection: Connection, source: str) -> dict[str, tuple[int, str]]:
    """name -> (row id, hash) of a source's advisories."""
    query = select(advisories.c.id, advisories.c.name, advisories.c.hash).where(advisories.c.source == source)
    return {row.name: (row.id, row.hash) for row in connection.execute(query)}


def store(db: Database, source: str, items: Iterable[Item], *, replace: bool) -> Result:
    """Bring the source up to date in one transaction. `replace`: what is not among `items` goes.

    Records are read before the transaction begins and kept in a temporary file, so that on SQLite other
    writers wait for the writing only.
    """
    names = {digest: name for name, (_, digest) in db.sync_read(lambda c: _known(c, source)).items()}
    result = Result(source)
    seen: set[str] = set()
    newest: float | None = None
    with tempfile.TemporaryFile() as spool:
        for number, item in enumerate(items, 1):
            progress.step(f"{source}: records read", number)
            name = names.get(item.hash)
            advisory = None
            if name is None:
                try:
                    advisory = item.load()
                except InvalidError as error:
                    if len(result.rejected) < 100:
                        result.rejected.append(f"{item.name}: {error}"[:300])
                    continue
                name = advisory.name
            if name in seen:
                continue
            seen.add(name)
            result.total += 1
            if advisory is not None:
                newest = max(newest or 0, advisory.modified_at or 0) or None
                data = msgspec.msgpack.encode((item.hash, advisory))
                spool.write(struct.pack(">I", len(data)) + data)

        def store_advisories(connection: Connection) -> tuple[int, int, int]:
            known = _known(connection, source)
            added = changed = removed = 0
            batch: list[tuple[str, Advisory]] = []
            for number, (digest, advisory) in enumerate(_spooled(spool), 1):
                progress.step(f"{source}: new and changed advisories", number)
                before = known.get(advisory.name)
                if before is None:
                    added += 1
                elif before[1] == digest:
                    continue
                else:
                    changed += 1
                batch.append((digest, advisory))
                if len(batch) >= _BATCH:
                    _write(connection, source, batch, known)
                    batch = []
            _write(connection, source, batch, known)
            if replace:
                gone = [known[name][0] for name in known if name not in seen]
                removed = len(gone)
                for start in range(0, removed, _BATCH):
                    some = gone[start : start + _BATCH]
                    _forget(connection, some)
                    connection.execute(delete(advisories).where(advisories.c.id.in_(some)))
            if result.total or not result.rejected:
                _record(connection, source, added + changed + removed, newest)
            return added, changed, removed

        result.added, result.changed, result.removed = db.sync_write(store_advisories)
    return result


def remove(db: Database, source: str) -> int:
    """Forget what a source said; returns how many advisories. Raises NotFoundError.

    The source stays listed, with none, so that reports made before are matched again.
    """
    if source not in {row["name"] for row in db.sync_read(status)}:
        raise NotFoundError(f"no source {source[:128]} was imported; see `seawall scan db status`")
    return store(db, source, [], replace=True).removed


def _spooled(spool: IO[bytes]) -> Iterator[tuple[str, Advisory]]:
    return (_decoder.decode(item) for item in unspooled(spool))


def unspooled(spool: IO[bytes]) -> Iterator[bytes]:
    """The items of a spool file: each is its length (4 bytes) and its bytes."""
    spool.seek(0)
    while head := spool.read(4):
        (length,) = struct.unpack(">I", head)
        yield spool.read(length)


def _forget(connection: Connection, ids: list[int]) -> None:
    connection.execute(delete(advisory_packages).where(advisory_packages.c.advisory_id.in_(ids)))
    connection.execute(delete(advisory_cves).where(advisory_cves.c.advisory_id.in_(ids)))


def _write(
    connection: Connection,
    source: str,
    batch: list[tuple[str, Advisory]],
    known: dict[str, tuple[int, str]],
) -> None:
    if not batch:
        return
    old = [known[a.name][0] for _, a in batch if a.name in known]
    if old:
        _forget(connection, old)
    fresh = []
    for digest, a in batch:
        row = {
            "source": source,
            "name": a.name,
            "hash": digest,
            "cves": a.cves,
            "withdrawn": a.withdrawn,
            "severity": a.severity,
            "score": a.score,
            "vector": a.vector,
            "summary": a.summary.replace("\0", ""),
            "links": a.links,
            "cwes": a.cwes,
            "modified_at": a.modified_at,
        }
        if a.name in known:
            connection.execute(update(advisories).where(advisories.c.id == known[a.name][0]).values(row))
        else:
            fresh.append(row)
    if fresh:
        connection.execute(insert(advisories), fresh)
    names = [a.name for _, a in batch]
    ids: dict[str, int] = {
        row.name: row.id
        for row in connection.execute(
            select(advisories.c.name, advisories.c.id).where(
                advisories.c.source == source, advisories.c.name.in_(names)
            )
        )
    }
    cves = [{"cve": cve[:128], "advisory_id": ids[a.name]} for _, a in batch for cve in dict.fromkeys(a.cves)]
    packages = [
        {
            "advisory_id": ids[a.name],
            "ecosystem": row.ecosystem[:128],
            "package": row.package,
            "ranges": row.ranges,
            "versions": row.versions,
            "severity": row.severity,
            "status": row.status,
        }
        for _, a in batch
        if not a.withdrawn
        for row in a.affected
    ]
    if cves:
        connection.execute(insert(advisory_cves), cves)
    if packages:
        connection.execute(insert(advisory_packages), packages)


def _record(connection: Connection, source: str, changes: int, newest: float | None) -> None:
    before = connection.execute(
        select(advisory_sources.c.modified_at, advisory_sources.c.imported_at).where(
            advisory_sources.c.name == source
        )
    ).first()
    count = len(connection.execute(select(advisories.c.id).where(advisories.c.source == source)).fetchall())
    values = {
        "name": source,
        "advisories": count,
        "changed": changes,
        "modified_at": max(newest or 0, (before[0] if before else 0) or 0) or None,
        # A moment that is later than every report made before this commit.
        "imported_at": time.time(),
    }
    connection.execute(upsert(connection, advisory_sources, values, "name", values))


def status(connection: Connection) -> list[dict[str, Any]]:
    """Every imported source: name, advisories, modified_at, imported_at."""
    return [
        dict(row._mapping)
        for row in connection.execute(select(advisory_sources).order_by(advisory_sources.c.name))
    ]
