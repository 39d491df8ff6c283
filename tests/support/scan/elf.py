"""A minimal ELF file with the given sections."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def elf(sections: Mapping[str, bytes], *, address: int = 0) -> bytes:
    """64-bit little-endian; the first section is loaded at `address`."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    body = b""
    rows = [struct.pack("<IIQQQQIIQQ", *[0] * 10)]
    for index, (name, data) in enumerate(sections.items()):
        body += b"\0" * (-(64 + len(body)) % 16)
        place = 64 + len(body)
        where = address if index == 0 else 0
        rows.append(
            struct.pack(
                "<IIQQQQIIQQ", names.index(name.encode() + b"\0"), 1, 2, where, place, len(data), 0, 0, 16, 0
            )
        )
        body += data
    rows.append(
        struct.pack("<IIQQQQIIQQ", names.index(b".shstrtab"), 3, 0, 0, 64 + len(body), len(names), 0, 0, 1, 0)
    )
    body += names
    body += b"\0" * (-(64 + len(body)) % 8)
    header = struct.pack(
        "<4sBBBBQHHIQQQIHHHHHH",
        b"\x7fELF",
        2,
        1,
        1,
        0,
        0,
        2,
        62,
        1,
        0,
        0,
        64 + len(body),
        0,
        64,
        56,
        0,
        64,
        len(rows),
        len(rows) - 1,
    )
    return header + body + b"".join(rows)
