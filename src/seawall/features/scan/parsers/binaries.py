"""Module lists inside executables: Go build information, Rust's cargo-auditable section.

Sources: Go's debug/buildinfo and runtime/debug packages, the cargo-auditable format (PARSING.md), ELF
(System V ABI chapter 4), PE (for Go programs for Windows).
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass

from seawall.features.scan.model import Found
from seawall.features.scan.parsers.base import ParseError, clean

_GO_MAGIC = b"\xff Go buildinf:"
_MAX_INFO = 16 * 1024 * 1024
_LDFLAGS_VERSION = re.compile(r"-X[ =]\\?[\"']?[^\s=\"']*[vV]ersion=(v?\d[^\s\"'\\]*)")


@dataclass(frozen=True, slots=True)
class _Section:
    name: bytes
    address: int
    offset: int
    size: int


def executable(data: bytes) -> list[Found]:
    """Packages compiled into an ELF or PE executable; empty when it carries no list."""
    if data[:4] == b"\x7fELF":
        sections = _elf(data)
        if any(s.name == b".go.buildinfo" for s in sections):
            return _go(data, sections)
        for section in sections:
            if section.name == b".dep-v0":
                return _auditable(data[section.offset : section.offset + section.size])
        # Section headers may be stripped; the information is still in the data.
        return _go(data, []) if not sections and _GO_MAGIC in data else []
    if data[:2] == b"MZ" and _GO_MAGIC in data:
        return _go(data, [])
    return []


def _elf(data: bytes) -> list[_Section]:
    try:
        wide = data[4] == 2
        order = "<" if data[5] == 1 else ">"
        if wide:
            (table,) = struct.unpack_from(order + "Q", data, 40)
            size, count, names = struct.unpack_from(order + "HHH", data, 58)
            layout = order + "IIQQQQ"
        else:
            (table,) = struct.unpack_from(order + "I", data, 32)
            size, count, names = struct.unpack_from(order + "HHH", data, 46)
            layout = order + "IIIIII"
        if not table or not count or names >= count or count > 4096:
            return []
        rows = [struct.unpack_from(layout, data, table + index * size) for index in range(count)]
        strings = rows[names][4]
        sections = []
        for row in rows:
            start = strings + row[0]
            end = data.find(b"\0", start, start + 64)
            sections.append(_Section(data[start : max(end, start)], row[3], row[4], row[5]))
        return sections
    except (struct.error, IndexError):
        # A cut or scrambled table: nothing can be said from it.
        return []


def _go(data: bytes, sections: list[_Section]) -> list[Found]:
    start = 0
    end = len(data)
    for section in sections:
        if section.name == b".go.buildinfo":
            start, end = section.offset, min(section.offset + section.size, len(data))
    while True:
        start = data.find(_GO_MAGIC, start, end)
        if start < 0:
            return []
        try:
            version, info = _go_info(data, start, sections)
        except (struct.error, IndexError, ParseError):
            version = info = b""
        if version.startswith((b"go1", b"devel")):
            return _go_modules(version, info)
        start += len(_GO_MAGIC)


def _go_info(data: bytes, start: int, sections: list[_Section]) -> tuple[bytes, bytes]:
    pointer_size, flags = data[start + 14], data[start + 15]
    if flags & 2:  # since Go 1.18: both strings follow inline
        version, position = _inline(data, start + 32)
        info, _ = _inline(data, position)
        return version, info
    order = ">" if flags & 1 else "<"
    word = order + ("Q" if pointer_size == 8 else "I")
    first, second = (
        struct.unpack_from(word, data, start + 16)[0],
        struct.unpack_from(word, data, start + 16 + pointer_size)[0],
    )
    return _pointed(data, first, word, sections), _pointed(data, second, word, sections)


def _inline(data: bytes, position: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 35:
            raise ParseError("Go build information is not valid")
    if length > _MAX_INFO or position + length > len(data):
        raise ParseError("Go build information is not valid")
    return data[position : position + length], position + length


def _pointed(data: bytes, address: int, word: str, sections: list[_Section]) -> bytes:
    """A Go string through the address of its header (address, length)."""
    width = struct.calcsize(word)
    place = _offset(address, sections)
    (text,) = struct.unpack_from(word, data, place)
    (length,) = struct.unpack_from(word, data, place + width)
    if length > _MAX_INFO:
        raise ParseError("Go build information is not valid")
    if not length:
        return b""
    begin = _offset(text, sections)
    return data[begin : begin + length]


def _offset(address: int, sections: list[_Section]) -> int:
    for section in sections:
        if section.address and section.address <= address < section.address + section.size:
            return address - section.address + section.offset
    raise ParseError("address outside every section")


def _go_modules(version: bytes, info: bytes) -> list[Found]:
    # Sentinels of 16 bytes stand before and after the text.
    text = info[16:-16].decode("utf-8", "replace") if len(info) > 32 else ""
    modules: list[list[str]] = []
    main: list[str] | None = None
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        fields = line.split("\t")
        if fields[0] == "path" and len(fields) >= 2 and main is None:
            # Built without module mode, as distributions do: only the main package's path is known.
            main = [fields[1], ""]
        elif fields[0] == "mod" and len(fields) >= 3:
            main = fields[1:3]
        elif fields[0] == "dep" and len(fields) >= 3:
            modules.append(fields[1:3])
        elif fields[0] == "=>" and len(fields) >= 3 and modules:
            # A replacement by a directory has no version; the original's stays then.
            modules[-1] = fields[1:3] if fields[2] else modules[-1]
        elif fields[0] == "build" and len(fields) >= 2:
            key, _, value = fields[1].partition("=")
            settings[key] = value.strip('"')
    if main is not None:
        if main[1] in ("", "(devel)"):
            match = _LDFLAGS_VERSION.search(settings.get("-ldflags", ""))
            main[1] = "v" + match[1].removeprefix("v") if match else "(devel)"
        if main[0] != "command-line-arguments":
            modules.append(main)
    found = [Found("golang", clean(name), clean(v)) for name, v in modules if clean(name) and clean(v)]
    number = re.match(r"go(\d[\w.]*)", version.decode("ascii", "replace"))
    if number:
        # The Go vulnerability database names the standard library "stdlib".
        found.append(Found("golang", "stdlib", number[1]))
    return list(dict.fromkeys(found))


def _auditable(section: bytes) -> list[Found]:
    try:
        decoder = zlib.decompressobj()
        text = decoder.decompress(section, _MAX_INFO)
        if decoder.unconsumed_tail:
            raise ParseError("dependency list is too large")
        document = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise ParseError(f"dependency list cannot be read: {error}") from None
    packages = document.get("packages") if isinstance(document, dict) else None
    found = []
    for item in packages if isinstance(packages, list) else []:
        if not isinstance(item, dict) or item.get("kind", "runtime") != "runtime":
            continue
        name, version = item.get("name"), item.get("version")
        if isinstance(name, str) and isinstance(version, str) and clean(name) and clean(version):
            found.append(Found("cargo", clean(name), clean(version)))
    return list(dict.fromkeys(found))
