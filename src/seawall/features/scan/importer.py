"""Import of advisories from files: what has not changed is left alone, a source is imported whole or not.

Understood: an OSV record or a list of them (JSON), a CSAF advisory or VEX (JSON), a zip or tar of either,
OVAL files (XML, also packed), the Debian security tracker's JSON, Alpine's secdb JSON, a directory of these.
"""

from __future__ import annotations

import functools
import itertools
import lzma
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seawall.features.scan import advisories as parse
from seawall.features.scan import csaf, oval
from seawall.features.scan.advisories import Advisory
from seawall.features.scan.imported import Item, Result, hash_of, same, store, unspooled
from seawall.infra.db import Database
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import need, optional

if TYPE_CHECKING:
    import zstandard
else:
    zstandard = optional("zstandard")

MIB = 1024 * 1024
# One record; the largest published are a few MiB.
_RECORD_BYTES = 32 * MIB
_FILE_BYTES = 1024 * MIB


def import_path(db: Database, path: Path, report: Callable[[str], None] = lambda _line: None) -> list[Result]:
    """Import a file or directory; each source in one transaction. Raises InvalidError.

    A record that cannot be read is left out and named in the result; a file that is nothing known is an
    error.
    """
    need("scan", "the import of advisories")
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
    if not results:
        # A share that is not mounted, for example: nothing would be said, and nothing found in images.
        raise InvalidError(f"{path}: there are no files of advisories in this folder")
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
            found.append(store(db, "osv", _items(again, parse.osv), replace=False))
        if kept.tell():
            pairs = msgspec.msgpack.Decoder(tuple[str, bytes])
            spooled = (pairs.decode(item) for item in unspooled(kept))
            found.append(store(db, "csaf", _items(spooled, csaf.advisory), replace=False))
    return found


# Both fields stand at the head of a CSAF document, in either order.
_CSAF = re.compile(rb'"csaf_version"\s*:')


def _import_oval(db: Database, file: Path) -> Result:
    name = file.name.lower()
    for suffix in (".gz", ".bz2", ".xml", ".oval"):
        name = name.removesuffix(suffix)
    try:
        return store(db, f"oval:{name}"[:128], _whole(oval.advisories(file)), replace=True)
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

        return [store(db, "osv", _items(records(), parse.osv), replace=False)]
    try:
        if isinstance(document, dict) and csaf.recognised(document):
            return [store(db, "csaf", _items([(str(file), data)], csaf.advisory), replace=False)]
        if isinstance(document, dict) and "packages" in document:
            source, found = parse.alpine_secdb(document)
            return [store(db, source, _whole(found), replace=True)]
        debian = list(parse.debian_tracker(document))
        if not debian:
            raise InvalidError("no advisories found")
        return [store(db, "debian-tracker", _whole(debian), replace=True)]
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


def _items(records: Iterable[tuple[str, bytes]], read: Callable[[Any], Advisory]) -> Iterator[Item]:
    for name, data in records:
        yield Item(hash_of(data), name, functools.partial(_load, read, name, data))


def _load(read: Callable[[Any], Advisory], name: str, data: bytes) -> Advisory:
    return read(_decode(data, name))


def _whole(found: Iterable[Advisory]) -> Iterator[Item]:
    for advisory in found:
        yield Item(hash_of(msgspec.json.encode(advisory)), advisory.name, functools.partial(same, advisory))
