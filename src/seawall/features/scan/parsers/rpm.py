"""rpm databases: SQLite, Berkeley DB (hash) and ndb, read without librpm.

Each holds one header blob a package. Sources: rpm's lib/header.c and lib/backend/ndb/rpmpkg.c (formats),
Berkeley DB's dbinc/db_page.h (page layout).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

from seawall.features.scan.model import Found
from seawall.features.scan.parsers.base import ParseError, TooMuchError, clean

# Thousands of SQLite's own steps; a database of 200,000 packages takes some 2,000.
_STEPS = 20_000
_MAX_HEADER = 64 * 1024 * 1024
_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE, _MODULARITY = (
    1000,
    1001,
    1002,
    1003,
    1014,
    1022,
    1044,
    5096,
)


def database(data: bytes) -> list[Found]:
    """Packages of an rpm database, whatever its backend."""
    if data[:16] == b"SQLite format 3\0":
        blobs = _sqlite(data)
    elif data[:4] == b"RpmP":
        blobs = _ndb(data)
    elif data[12:16] in (b"\x61\x15\x06\x00", b"\x00\x06\x15\x61"):
        blobs = _berkeley(data)
    else:
        raise ParseError("not an rpm database")
    found = []
    for blob in blobs:
        package = header(blob)
        if package is not None:
            found.append(package)
    return found


def header(blob: bytes) -> Found | None:
    """The package an rpm header describes; None for public keys, which rpm keeps as packages too."""
    try:
        count, size = struct.unpack_from(">II", blob, 0)
        store = 8 + count * 16
        if count > 1 << 16 or store + size > len(blob):
            raise ParseError("rpm header is not valid")
        strings: dict[int, str] = {}
        epoch = 0
        for index in range(count):
            tag, kind, offset, number = struct.unpack_from(">IIII", blob, 8 + index * 16)
            start = store + offset
            if start >= len(blob):
                continue
            if tag == _EPOCH and kind == 4 and number:
                (epoch,) = struct.unpack_from(">I", blob, start)
            elif tag in (_NAME, _VERSION, _RELEASE, _ARCH, _SOURCE, _LICENSE, _MODULARITY) and kind in (
                6,
                8,
                9,
            ):
                end = blob.find(b"\0", start, start + 4096)
                strings[tag] = clean(blob[start : end if end >= 0 else start].decode("utf-8", "replace"))
    except struct.error:
        raise ParseError("rpm header is not valid") from None
    name, version, release = strings.get(_NAME, ""), strings.get(_VERSION, ""), strings.get(_RELEASE, "")
    if not name or not version or name == "gpg-pubkey":
        return None
    full = f"{version}-{release}" if release else version
    source = strings.get(_SOURCE, "")
    # name-version-release.src.rpm
    source_name = source.rsplit("-", 2)[0] if source.count("-") >= 2 else name
    return Found(
        "rpm",
        name,
        f"{epoch}:{full}" if epoch else full,
        arch=strings.get(_ARCH, ""),
        source=source_name,
        source_version=full,
        licenses=(strings[_LICENSE],) if strings.get(_LICENSE) else (),
        # name:stream:version:context
        module=":".join(strings.get(_MODULARITY, "").split(":")[:2]),
    )


def _sqlite(data: bytes) -> Iterator[bytes]:
    # A file in WAL mode cannot be opened from memory; bytes 18 and 19 say which mode it is in.
    data = data[:18] + b"\x01\x01" + data[20:]
    connection = sqlite3.connect(":memory:")
    steps = 0

    def bounded() -> int:
        # The schema is the archive's, so a "table" could be a view that never ends.
        nonlocal steps
        steps += 1
        return steps > _STEPS

    try:
        connection.deserialize(data)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.set_progress_handler(bounded, 1_000)
        kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchone()
        if kind is None or kind[0] != "table":
            raise ParseError("rpm database has no Packages table")
        # rpm's own table has none; such a column may compute for ever.
        if any(row[6] for row in connection.execute("PRAGMA table_xinfo(Packages)")):
            raise TooMuchError("rpm database computes its columns")
        for (blob,) in connection.execute("SELECT blob FROM Packages LIMIT 200000"):
            if isinstance(blob, bytes) and len(blob) <= _MAX_HEADER:
                yield blob
    # Its messages quote the schema, which need not be text (UnicodeDecodeError).
    except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        if steps > _STEPS:
            raise TooMuchError("rpm database takes too long to read") from None
        raise ParseError(f"rpm database: {error}") from None
    finally:
        connection.close()


def _ndb(data: bytes) -> Iterator[bytes]:
    # Header page, then slot pages; each used slot names a blob by its place in 16-byte blocks.
    try:
        _, version, _, pages = struct.unpack_from("<4sIII", data, 0)
        if version != 0 or pages > 4096:
            raise ParseError("rpm ndb database is of another version")
        for position in range(32, pages * 4096, 16):
            magic, index, block, blocks = struct.unpack_from("<4sIII", data, position)
            if magic != b"Slot":
                raise ParseError("rpm ndb database has a bad slot")
            if not index:
                continue
            start = block * 16
            blob_magic, blob_index, _generation, length = struct.unpack_from("<4sIII", data, start)
            if blob_magic != b"BlbS" or blob_index != index or length > blocks * 16:
                raise ParseError("rpm ndb database has a bad blob")
            yield data[start + 16 : start + 16 + length]
    except struct.error:
        raise ParseError("rpm ndb database is cut off") from None


def _berkeley(data: bytes) -> Iterator[bytes]:
    """Values of a Berkeley DB hash; rpm's headers are large, so each is on overflow pages."""
    order = "<" if data[12:16] == b"\x61\x15\x06\x00" else ">"
    try:
        (page_size,) = struct.unpack_from(order + "I", data, 20)
        (last_page,) = struct.unpack_from(order + "I", data, 32)
        if page_size < 512 or page_size > 65536 or page_size & (page_size - 1):
            raise ParseError("Berkeley DB page size is not valid")
        total = min(last_page + 1, len(data) // page_size)
        budget = len(data)
        for number in range(1, total):
            start = number * page_size
            kind = data[start + 25]
            if kind not in (2, 13):  # unsorted and sorted hash pages
                continue
            (entries,) = struct.unpack_from(order + "H", data, start + 20)
            if 26 + 2 * entries > page_size:
                raise ParseError("Berkeley DB page is not valid")
            offsets = struct.unpack_from(f"{order}{entries}H", data, start + 26)
            for index in range(1, entries, 2):
                item = start + offsets[index]
                if data[item] == 3:  # off-page value: page number, total length
                    page, length = struct.unpack_from(order + "II", data, item + 4)
                    blob = _overflow(data, order, page_size, page, length)
                elif data[item] == 1:  # value on the page, up to the item before it
                    end = start + (offsets[index - 1] if index else page_size)
                    blob = data[item + 1 : end]
                else:
                    continue
                budget -= len(blob)
                if budget < 0:
                    raise TooMuchError("Berkeley DB pages form a loop")
                # Key 0 holds a counter, not a header.
                if len(blob) >= 16:
                    yield blob
    except (struct.error, IndexError):
        raise ParseError("Berkeley DB file is cut off") from None


def _overflow(data: bytes, order: str, page_size: int, page: int, length: int) -> bytes:
    if length > _MAX_HEADER:
        raise ParseError("rpm header is too large")
    parts = []
    left = length
    steps = len(data) // page_size
    while page and left > 0:
        start = page * page_size
        (following,) = struct.unpack_from(order + "I", data, start + 16)
        (used,) = struct.unpack_from(order + "H", data, start + 22)
        part = data[start + 26 : start + 26 + min(used, left)]
        parts.append(part)
        left -= len(part)
        page = following
        steps -= 1
        if steps < 0 or not part:
            raise ParseError("Berkeley DB overflow pages are not valid")
    return b"".join(parts)
