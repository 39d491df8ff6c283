"""Layers read as a stream: gzip, zstd or plain tar, bounded in entries, bytes, ratio and time.

Nothing is ever written to disk under a name from the archive, so a path can escape nowhere; paths that try
are left out. Sources: OCI Image 1.1 layer.md (media types, whiteouts), POSIX.1 pax, GNU tar (long names,
sparse files), RFC 1952, RFC 8878.
"""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from seawall.features.scan.model import MIB, Limits
from seawall.kernel.errors import SeawallError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import zstandard
    from isal import isal_zlib
else:
    zstandard = optional("zstandard")
    isal_zlib = optional("isal.isal_zlib")

_CHUNK = 256 * 1024
_BLOCK = 512
REGULAR, HARDLINK, SYMLINK, DIRECTORY, OTHER = "file", "hardlink", "symlink", "directory", "other"
_TYPES = {
    b"0": REGULAR,
    b"\0": REGULAR,
    b"7": REGULAR,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"5": DIRECTORY,
}


class LayerError(SeawallError):
    """The layer is not a readable archive."""


class LayerLimitError(LayerError):
    """The layer is larger than scanning allows: entries, bytes, ratio or time."""


class Source(Protocol):
    """Where packed bytes come from."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; empty at the end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One archive member: `path` relative to the root, without leading slash; `size` in bytes."""

    path: str
    type: str
    size: int
    mode: int
    link: str
    sparse: bool = False


class _Packed:
    """Counts packed bytes, for the ratio."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._head = head
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        if self._head:
            data, self._head = self._head, b""
        else:
            data = self._source.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self.count += len(data)
        return data


def _gzip(source: _Packed) -> Iterator[bytes]:
    # Members may follow each other (eStargz, pigz): each is a stream of its own.
    decoder = isal_zlib.decompressobj(31)
    data = b""
    started = False
    while True:
        if not data:
            data = source.read()
            if not data:
                if started:
                    raise LayerError("gzip stream ends early")
                return
        if not started and not data.strip(b"\0"):
            data = b""  # padding after the last member
            continue
        started = True
        out = decoder.decompress(data, MIB)
        if out:
            yield out
        if decoder.eof:
            data = decoder.unused_data
            decoder = isal_zlib.decompressobj(31)
            started = False
        else:
            data = decoder.unconsumed_tail


def _zstd(source: _Packed) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=128 * MIB)
    with decoder.stream_reader(cast(Any, source), read_size=_CHUNK, read_across_frames=True) as reader:
        while data := reader.read(MIB):
            yield data


def _plain(source: _Packed) -> Iterator[bytes]:
    while data := source.read():
        yield data


class LayerReader:
    """Iterates the entries of a layer; `read` and `peek` give the current entry's content."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.limits = limits
        self.skipped: list[str] = []
        """paths left out because they point outside the root"""
        self._deadline = time.monotonic() + self.limits.seconds
        head = b""
        while len(head) < 4:
            piece = source.read(4 - len(head))
            if not piece:
                break
            head += piece
        self._packed = _Packed(source, head)
        if head[:2] == b"\x1f\x8b":
            self._chunks = _gzip(self._packed)
        elif head == b"\x28\xb5\x2f\xfd" or (head[1:] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
            self._chunks = _zstd(self._packed)
        else:
            self._chunks = _plain(self._packed)
        self._buffer = b""
        self._position = 0
        self._unpacked = 0
        self._left = 0
        self._padding = 0
        self._ended = False

    # -- bytes -------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        try:
            chunk = next(self._chunks, b"")
        except (cast(Any, isal_zlib).error, zstandard.ZstdError) as error:
            raise LayerError(f"layer cannot be unpacked: {error}") from None
        if not chunk:
            return False
        self._unpacked += len(chunk)
        limits = self.limits
        if self._unpacked > limits.unpacked_bytes:
            raise LayerLimitError(f"layer unpacks to more than {limits.unpacked_bytes} bytes")
        if self._unpacked > limits.ratio_from and self._unpacked > limits.ratio * max(self._packed.count, 1):
            raise LayerLimitError(f"layer unpacks to more than {limits.ratio} times its size")
        if time.monotonic() > self._deadline:
            raise LayerLimitError(f"layer took longer than {limits.seconds} seconds to read")
        self._buffer = chunk
        self._position = 0
        return True

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end of the stream."""
        end = self._position + size
        if end <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end
            return data
        out = io.BytesIO()
        left = size
        while left:
            piece = self._buffer[self._position : self._position + left]
            if not piece:
                if not self._fill():
                    break
                continue
            out.write(piece)
            self._position += len(piece)
            left -= len(piece)
        return out.getvalue()

    def _skip(self, size: int) -> None:
        while size:
            here = min(size, len(self._buffer) - self._position)
            if here <= 0:
                if not self._fill():
                    raise LayerError("archive ends inside a member")
                continue
            self._position += here
            size -= here

    # -- entries -----------------------------------------------------------------------------------

    def peek(self, size: int) -> bytes:
        """The first bytes of the current entry, without consuming them."""
        size = min(size, self._left)
        if len(self._buffer) - self._position < size:
            rest = self._buffer[self._position :]
            while len(rest) < size and self._fill():
                rest += self._buffer
            self._buffer, self._position = rest, 0
        return self._buffer[self._position : self._position + size]

    def read(self) -> bytes:
        """The whole content of the current entry."""
        data = self._take(self._left)
        if len(data) != self._left:
            raise LayerError("archive ends inside a member")
        self._left = 0
        return data

    def __iter__(self) -> Iterator[Entry]:
        limits = self.limits
        count = 0
        pax: dict[str, str] = {}
        common: dict[str, str] = {}
        long_name = long_link = ""
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            header = self._take(_BLOCK)
            if not header or not header.strip(b"\0"):
                if not header and not count and not self._unpacked:
                    raise LayerError("layer is empty")
                return
            count += 1
            if count > limits.entries:
                raise LayerLimitError(f"layer has more than {limits.entries} entries")
            flag, name, link, mode, size = _header(header)
            self._padding = -size % _BLOCK
            if flag in (b"x", b"g", b"L", b"K"):
                if size > limits.metadata_bytes:
                    raise LayerLimitError("an extended tar header is too large")
                self._left = size
                data = self.read()
                if flag == b"x":
                    pax = _pax(data)
                elif flag == b"g":
                    common.update(_pax(data))
                    if len(common) > 1000:
                        raise LayerLimitError("too many extended tar headers")
                elif flag == b"L":
                    long_name = _text(data)
                else:
                    long_link = _text(data)
                continue
            sparse = flag == b"S"
            if sparse:
                self._sparse_map(header)
            records = {**common, **pax} if common else pax
            name = records.get("path") or long_name or name
            link = records.get("linkpath") or long_link or link
            if "size" in records:
                size = _decimal(records["size"])
            if "GNU.sparse.major" in records or "GNU.sparse.map" in records:
                sparse = True
                name = records.get("GNU.sparse.name") or name
            pax, long_name, long_link = {}, "", ""
            kind = _TYPES.get(flag, REGULAR if sparse else OTHER)
            if kind == REGULAR and name.endswith("/"):
                kind = DIRECTORY
            # Links, directories and devices have no content, whatever their size field says.
            self._left = size if kind == REGULAR or flag not in b"123456" else 0
            self._padding = -self._left % _BLOCK
            path = clean_path(name)
            if path is None:
                if len(self.skipped) < 100:
                    self.skipped.append(name[:200])
                continue
            yield Entry(path, kind, size if kind == REGULAR else 0, mode, link, sparse)

    def _sparse_map(self, header: bytes) -> None:
        # Old GNU format: the map goes on in further blocks while their flag byte is set.
        more = header[482]
        blocks = 0
        while more:
            block = self._take(_BLOCK)
            blocks += 1
            if len(block) != _BLOCK or blocks > 10_000:
                raise LayerError("sparse map is not valid")
            more = block[504]


def clean_path(name: str) -> str | None:
    """Archive path relative to the root, "" for the root itself; None when it points outside."""
    if "\0" in name:
        return None
    path = name.strip("/")
    if path.startswith("./"):
        path = path[2:]
    if "//" in path or "/./" in path or path.endswith("/.") or path == "." or ".." in path or path[:1] == "/":
        if ".." in path.split("/"):
            return None
        path = posixpath.normpath("/" + path).lstrip("/")
    return path


def _header(block: bytes) -> tuple[bytes, str, str, int, int]:
    """(type flag, name, link name, mode, size) of a header block."""
    if len(block) != _BLOCK:
        raise LayerError("archive ends inside a header")
    try:
        checksum = int(block[148:156].strip(b"\0 ") or b"0", 8)
        unsigned = sum(block) - sum(block[148:156]) + 8 * 32
        if checksum != unsigned:
            # Some old writers summed signed bytes.
            signed = unsigned - 256 * sum(b > 127 for b in block[:148] + block[156:])
            if checksum != signed:
                raise LayerError("not a tar archive (header checksum)")
        mode = _number(block[100:108])
        size = _number(block[124:136])
    except ValueError:
        raise LayerError("not a tar archive (header fields)") from None
    if size < 0 or size > 1 << 60:
        raise LayerError("not a tar archive (member size)")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:500])
        if prefix:
            name = f"{prefix}/{name}"
    return block[156:157], name, _text(block[157:257]), mode, size


def _number(field: bytes) -> int:
    # GNU and star write large numbers in base 256 with the top bit set.
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return -1 if field[0] == 0xFF else value
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise LayerError("extended tar header has no valid size")
    return int(text)


def _pax(data: bytes) -> dict[str, str]:
    """Records "length keyword=value newline" of a pax header."""
    result: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position : position + 1] not in (b"\0", b""):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise LayerError("extended tar header is not valid")
        end = position + int(digits)
        if end <= space or end > len(data):
            raise LayerError("extended tar header is not valid")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        result[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        position = end
    return result
