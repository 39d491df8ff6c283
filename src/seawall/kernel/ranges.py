"""Parsers for the two range headers of the registry API."""

from __future__ import annotations

import re

from seawall.kernel.errors import RegistryError

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?")
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


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


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """The byte range of a read (RFC 9110 section 14.2), as start and exclusive end.

    None: the header is to be ignored (another unit, several ranges, malformed), and the whole is sent.
    Raises RegistryError SIZE_INVALID (416) when the range cannot be satisfied or ends before it starts,
    which RFC 9110 section 15.5.17 also lets a server refuse.
    """
    match = _RANGE.fullmatch(value)
    if match is None or (not match[1] and not match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = int(match[2]) + 1 if match[2] else size
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= size or end <= start:
        raise RegistryError(
            "SIZE_INVALID",
            "range is outside the blob",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, min(end, size)
