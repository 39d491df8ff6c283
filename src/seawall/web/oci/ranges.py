"""Several ranges of a blob in one answer: `multipart/byteranges` (RFC 9110 sections 14.6 and 15.3.7.2).

Clients that know which parts of a layer they lack (zstd:chunked, eStargz) ask for all of them at once. They
get one part for each range, in the order asked, as containers/image expects.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from seawall.kernel.errors import UnavailableError
from seawall.registry.model import OpenBlob
from seawall.web.oci.http import Response

_TYPE = "application/octet-stream"
# Ranges that are no further apart than this are one read of storage (bytes). An object store takes a request
# for each read; from a file what lies between costs more than another read.
_FILE_GAP = 16 * 1024
_OBJECT_GAP = 512 * 1024

Span = tuple[int, int]


def multipart(blob: OpenBlob, spans: list[Span], headers: dict[str, str]) -> Response:
    """The 206 with a part for each of `spans` (start, exclusive end); `headers` are those of the whole."""
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, span, blob.size, first=not number) for number, span in enumerate(spans)]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(end - start for start, end in spans) + len(tail)
    headers = headers | {
        "Content-Type": f"multipart/byteranges; boundary={boundary}",
        "Content-Length": str(length),
    }
    return Response(206, headers, stream=_body(blob, spans, heads, tail))


def _head(boundary: str, span: Span, size: int, *, first: bool) -> bytes:
    start, end = span
    before = "" if first else "\r\n"
    where = f"bytes {start}-{end - 1}/{size}"
    return f"{before}--{boundary}\r\nContent-Type: {_TYPE}\r\nContent-Range: {where}\r\n\r\n".encode()


async def _body(blob: OpenBlob, spans: list[Span], heads: list[bytes], tail: bytes) -> AsyncIterator[bytes]:
    parts = zip(heads, spans, strict=True)
    for group in together(spans, _OBJECT_GAP if blob.path is None else _FILE_GAP):
        at = group[0][0]
        head, (start, end) = next(parts)
        left = len(group)
        async for data in blob.read(at, group[-1][1]):
            pieces = []
            while left and start < at + len(data):
                # A part's head comes with its first bytes: until then the status can say that storage fails.
                pieces += [head, data[max(start - at, 0) : end - at]]
                head = b""
                if end > at + len(data):
                    break
                left -= 1
                if left:
                    head, (start, end) = next(parts)
            at += len(data)
            if pieces:
                yield b"".join(pieces)
        if left:
            raise UnavailableError("storage has fewer bytes than the blob")
    yield tail


def together(spans: list[Span], gap: int) -> list[list[Span]]:
    """Neighbours that are read at once: in ascending order, and no more than `gap` bytes apart."""
    groups: list[list[Span]] = []
    for span in spans:
        if groups and 0 <= span[0] - groups[-1][-1][1] <= gap:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups
