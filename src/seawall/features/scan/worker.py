"""The process that reads layers: what it parses is hostile until shown otherwise.

It runs apart from the server, with limits on memory and CPU time, so that neither a bomb nor a slow layer
touches requests. The parent speaks to it over pipes; frames are a 4-byte big-endian length and as many
bytes.

Request: a JSON frame {"limits": {...}} first; then for each layer a JSON frame {"lower": [paths],
"path": "file" | null}, and where path is null the blob in frames, ended by an empty one.
Answer: a JSON frame {"delta": {...}} or {"error": text, "limit": bool}, or {"again": true}: send the blob
once more.
"""

from __future__ import annotations

import contextlib
import json
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from seawall.features.scan.analyze import analyze
from seawall.features.scan.layers import LayerError, LayerLimitError, Source
from seawall.features.scan.model import Limits

MAX_FRAME = 1 << 30


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Send one frame."""
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Receive one frame; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    return stream.read(length)


class _Framed:
    """The blob that follows in frames."""

    def __init__(self, stream: BinaryIO) -> None:
        self._frames = self._iterate(stream)
        self._rest = b""

    def _iterate(self, stream: BinaryIO) -> Iterator[bytes]:
        while frame := read_frame(stream):
            yield frame

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            self._rest = next(self._frames, b"")
        if size < 0 or size >= len(self._rest):
            data, self._rest = self._rest, b""
        else:
            data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        self._rest = b""
        for _ in self._frames:
            pass


def _layer(request: dict[str, Any], limits: Limits, given: BinaryIO, answers: BinaryIO) -> dict[str, Any]:
    opened: list[Any] = []

    def open_source() -> Source:
        if request["path"] is not None:
            stream = Path(request["path"]).open("rb")  # noqa: SIM115 - closed below
            opened.append(stream)
            return stream
        if opened:
            opened[-1].drain()
            write_frame(answers, b'{"again": true}')
        source = _Framed(given)
        opened.append(source)
        return source

    try:
        return {"delta": analyze(open_source, request["lower"], limits).as_dict()}
    except LayerLimitError as error:
        return {"error": str(error), "limit": True}
    except (LayerError, OSError) as error:
        return {"error": str(error), "limit": False}
    except MemoryError:
        return {"error": "layer needs more memory than scanning allows", "limit": True}
    finally:
        for item in opened:
            if request["path"] is not None:
                item.close()
            else:
                item.drain()


def main() -> None:
    """Serve one parent until it closes the pipe."""
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    first = read_frame(given)
    if first is None:
        return
    limits = Limits(**json.loads(first)["limits"])
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (frame := read_frame(given)) is not None:
        answer = _layer(json.loads(frame), limits, given, answers)
        write_frame(answers, json.dumps(answer, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()
