"""Parsers for the two range headers of the registry API."""

from __future__ import annotations

import re

from seawall.kernel.errors import RegistryError

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?")
_RANGE = re.compile(r"([0-9]{0,20})-([0-9]{0,20})")
# containers/storage asks for up to 1,024 chunks of an image at once.
MOST_RANGES = 1024
_LONGEST = 64 * 1024


def parse_content_range(value: str) -> tuple[int, int]:
    """`<start>-<end>` (both inclusive) of an upload chunk, as the spec's "Pushing a blob in chunks" has it.

    Raises RegistryError BLOB_UPLOAD_INVALID (416).
    """
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        raise RegistryError("BLOB_UPLOAD_INVALID", "Content-Range must be <start>-<end>", status=416)
    start, end = int(match[1]), int(match[2])
    if end < start:
        raise RegistryError("BLOB_UPLOAD_INVALID", "Content-Range ends before it starts", status=416)
    return start, end


def parse_ranges(value: str, size: int) -> list[tuple[int, int]] | None:
    """The byte ranges of a read (RFC 9110 section 14.2), each as start and exclusive end, in the order asked.

    Ranges outside the `size` bytes are left out. Ranges that overlap are made one, and then all are in
    ascending order: section 14.2 warns of them, and nobody gets a byte twice. None: the header is to be
    ignored (another unit, malformed, more than MOST_RANGES or _LONGEST), and the whole is sent. Raises
    RegistryError SIZE_INVALID (416) when no range can be satisfied, or one ends before it starts, which
    section 15.5.17 also lets a server refuse.
    """
    unit, _, rest = value.partition("=")
    if unit.lower() != "bytes" or len(value) > _LONGEST:
        return None
    # A list may have empty elements (section 5.6.1).
    items = [item for item in (part.strip(" \t") for part in rest.split(",")) if item]
    if not 0 < len(items) <= MOST_RANGES:
        return None
    found: list[tuple[int, int]] = []
    for item in items:
        match = _RANGE.fullmatch(item)
        if match is None or item == "-":
            return None
        if match[1] and match[2] and int(match[2]) < int(match[1]):
            raise _unsatisfiable("range ends before it starts", size)
        if match[1]:
            start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
        else:
            start, end = max(size - int(match[2]), 0), size
        if start < size and end > start:
            found.append((start, min(end, size)))
    if not found:
        raise _unsatisfiable("range is outside the blob", size)
    return _disjoint(found)


def _disjoint(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans as they are unless some overlap; then sorted, with those that overlap made one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return spans if len(result) == len(spans) else result


def _unsatisfiable(message: str, size: int) -> RegistryError:
    headers = {"Content-Range": f"bytes */{size}"}
    return RegistryError("SIZE_INVALID", message, status=416, headers=headers)
