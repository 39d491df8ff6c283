"""Import of advisories from files: what has not changed is left alone, a source is imported whole or not.

Understood: an OSV record or a list of them (JSON), a CSAF advisory or VEX (JSON), a zip or tar of either,
OVAL files (XML, also packed), the Debian security tracker's JSON, Alpine's secdb JSON, a directory of these.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import lzma
import re
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard
from sqlalchemy import Connection, delete, insert, select, update

from seawall.features.scan import advisories as parse
from seawall.features.scan import csaf, oval
from seawall.features.scan.advisories import Advisory
from seawall.features.scan.tables import advisories, advisory_cves, advisory_packages, advisory_sources
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.kernel.errors import InvalidError, NotFoundError

MIB = 1024 * 1024
# One record; the largest published are a few MiB.
_RECORD_BYTES = 32 * MIB
_FILE_BYTES = 1024 * MIB
_BATCH = 500
# Raised when advisories are stored in another way, so that the next import writes them all anew.
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
class _Item:
    """A record: its hash, and how to read it (only when the hash is not known). `load` may raise."""

    hash: str
    name: str
    load: Callable[[], Advisory]


def import_path(db: Database, path: Path, report: Callable[[str], None] = lambda _line: None) -> list[Result]:
    """Import a file or directory; each source in one transaction. Raises InvalidError.

    A record that cannot be read is left out and named in the result; a file that is nothing known is an
    error.
    """
    if not path.exists():
        raise InvalidError(f"{path}: no such file or directory")
    results = []
    loose: list[Path] = []
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        suffix = file.suffix.lower()
        if file.name.lower().endswith(oval.SUFFIXES):
            results.append(_import_oval(db, file))
        elif suffix == ".zip":
            results += _import_zip(db, file)
        elif file.name.lower().endswith(_TARS):
            results += _import_tar(db, file)
        elif suffix == ".json":
            if file.stat().st_size > _FILE_BYTES:
                raise InvalidError(f"{file}: larger than {_FILE_BYTES // MIB} MiB")
            if path.is_dir() and file.stat().st_size <= _RECORD_BYTES and _looks_osv(file):
                loose.append(file)
            else:
                results += _import_json(db, file)
        elif path.is_file():
            raise InvalidError(f"{file}: none of .json, .zip, .tar and .xml (.tar.zst, .xml.bz2, ...)")
        if results and results[-1].source and not loose:
            report(f"{file}: {results[-1].total} advisories")
    if loose:

        def records() -> Iterator[tuple[str, bytes]]:
            for file in loose:
                yield str(file), file.read_bytes()

        results += _records(db, records())
    return results


def _records(db: Database, records: Iterable[tuple[str, bytes]]) -> list[Result]:
    """Import OSV and CSAF records, each as its own source."""
    with tempfile.TemporaryFile() as kept:

        def split() -> Iterator[tuple[str, bytes]]:
            for name, data in records:
                if _CSAF.search(data[:65536]) is None:
                    yield name, data
                else:
                    pair = msgspec.msgpack.encode((name, data))
                    kept.write(struct.pack(">I", len(pair)) + pair)

        found = []
        ours = split()
        first = next(ours, None)
        if first is not None or not kept.tell():
            again = itertools.chain([first] if first is not None else [], ours)
            found.append(_store(db, "osv", _items(again, parse.osv), replace=False))
        if kept.tell():
            pairs = msgspec.msgpack.Decoder(tuple[str, bytes])
            spooled = (pairs.decode(item) for item in _unspooled(kept))
            found.append(_store(db, "csaf", _items(spooled, csaf.advisory), replace=False))
    return found


# Both fields stand at the head of a CSAF document, in either order.
_CSAF = re.compile(rb'"csaf_version"\s*:')


def _import_oval(db: Database, file: Path) -> Result:
    name = file.name.lower()
    for suffix in (".gz", ".bz2", ".xml", ".oval"):
        name = name.removesuffix(suffix)
    try:
        return _store(db, f"oval:{name}"[:128], _whole(oval.advisories(file)), replace=True)
    except InvalidError as error:
        raise InvalidError(f"{file}: {error}") from None


def _looks_osv(file: Path) -> bool:
    # Debian's and Alpine's files are single documents of many advisories.
    with file.open("rb") as stream:
        head = stream.read(4096)
    return b'"apkurl"' not in head and b'"urlprefix"' not in head and b'"releases"' not in head


def _decode(data: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"{name}: not valid JSON: {error}") from None


def _import_json(db: Database, file: Path) -> list[Result]:
    data = file.read_bytes()
    document = _decode(data, str(file))
    if isinstance(document, list) or (
        isinstance(document, dict) and "id" in document and "modified" in document
    ):
        items = document if isinstance(document, list) else [document]

        def records() -> Iterator[tuple[str, bytes]]:
            for number, item in enumerate(items):
                yield f"{file} record {number}", msgspec.json.encode(item)

        return [_store(db, "osv", _items(records(), parse.osv), replace=False)]
    try:
        if isinstance(document, dict) and csaf.recognised(document):
            return [_store(db, "csaf", _items([(str(file), data)], csaf.advisory), replace=False)]
        if isinstance(document, dict) and "packages" in document:
            source, found = parse.alpine_secdb(document)
            return [_store(db, source, _whole(found), replace=True)]
        debian = list(parse.debian_tracker(document))
        if not debian:
            raise InvalidError("no advisories found")
        return [_store(db, "debian-tracker", _whole(debian), replace=True)]
    except InvalidError as error:
        raise InvalidError(f"{file}: {error}") from None


def _import_zip(db: Database, file: Path) -> list[Result]:
    def records() -> Iterator[tuple[str, bytes]]:
        total = 0
        with zipfile.ZipFile(file) as archive:
            for item in archive.infolist():
                if not item.filename.endswith(".json"):
                    continue
                # The header's size is a claim; what is read is bounded.
                with archive.open(item) as stream:
                    data = stream.read(_RECORD_BYTES + 1)
                total += len(data)
                if len(data) > _RECORD_BYTES or total > 32 * _FILE_BYTES:
                    raise InvalidError(f"{file}: {item.filename[:100]} is too large")
                yield item.filename, data

    try:
        return _records(db, records())
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise InvalidError(f"{file}: not a readable zip: {error}") from None


_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def _import_tar(db: Database, file: Path) -> list[Result]:
    """OSV or CSAF records in an archive, read as a stream; nothing is unpacked to disk."""

    def records() -> Iterator[tuple[str, bytes]]:
        total = 0
        with file.open("rb") as packed:
            zstd = file.name.lower().endswith(".zst")
            stream: Any = zstandard.ZstdDecompressor().stream_reader(packed) if zstd else packed
            with tarfile.open(fileobj=stream, mode="r|" if zstd else "r|*") as archive:
                for member in archive:
                    total += member.size
                    if total > 32 * _FILE_BYTES:
                        raise InvalidError(f"{file}: it unpacks to too much")
                    if not member.isfile() or not member.name.endswith(".json"):
                        continue
                    if member.size > _RECORD_BYTES:
                        raise InvalidError(f"{file}: {member.name[:100]} is too large")
                    opened = archive.extractfile(member)
                    if opened is not None:
                        yield member.name, opened.read()

    try:
        return _records(db, records())
    except (tarfile.TarError, zstandard.ZstdError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InvalidError(f"{file}: not a readable tar archive: {error}") from None


def _items(records: Iterable[tuple[str, bytes]], read: Callable[[Any], Advisory]) -> Iterator[_Item]:
    for name, data in records:
        yield _Item(_hash(data), name, functools.partial(_load, read, name, data))


def _load(read: Callable[[Any], Advisory], name: str, data: bytes) -> Advisory:
    return read(_decode(data, name))


def _whole(found: Iterable[Advisory]) -> Iterator[_Item]:
    for advisory in found:
        yield _Item(_hash(msgspec.json.encode(advisory)), advisory.name, functools.partial(_same, advisory))


def _same(advisory: Advisory) -> Advisory:
    return advisory


def _hash(data: bytes) -> str:
    return hashlib.sha256(_REVISION + data).hexdigest()


def _known(connection: Connection, source: str) -> dict[str, tuple[int, str]]:
    """name -> (row id, hash) of a source's advisories."""
    query = select(advisories.c.id, advisories.c.name, advisories.c.hash).where(advisories.c.source == source)
    return {row.name: (row.id, row.hash) for row in connection.execute(query)}


def _store(db: Database, source: str, items: Iterable[_Item], *, replace: bool) -> Result:
    """Bring the source up to date in one transaction. `replace`: what is not among `items` goes.

    Records are read before the transaction begins and kept in a temporary file, so that on SQLite other
    writers wait for the writing only.
    """
    names = {digest: name for name, (_, digest) in db.sync_read(lambda c: _known(c, source)).items()}
    result = Result(source)
    seen: set[str] = set()
    newest: float | None = None
    with tempfile.TemporaryFile() as spool:
        for item in items:
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
            for digest, advisory in _spooled(spool):
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

    The source stays listed, with none, so that reports made before are matched anew.
    """
    if source not in {row["name"] for row in db.sync_read(status)}:
        raise NotFoundError(f"no source {source[:128]} was imported; see `seawall scan db status`")
    return _store(db, source, [], replace=True).removed


def _spooled(spool: IO[bytes]) -> Iterator[tuple[str, Advisory]]:
    return (_decoder.decode(item) for item in _unspooled(spool))


def _unspooled(spool: IO[bytes]) -> Iterator[bytes]:
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
