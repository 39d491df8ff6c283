"""Parts of a session are joined into the bytes that the client sent, whatever the store returns meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator

import pytest
from obstore.store import MemoryStore

from seawall.infra.storage.objects import ObjectStorage
from seawall.kernel.errors import UnavailableError

CHUNKS = [secrets.token_bytes(300_000) for _ in range(3)]


class LyingStorage(ObjectStorage):
    """Flips a bit in so many of the next reads."""

    lies = 0

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        lie, self.lies = self.lies > 0, max(0, self.lies - 1)
        async for data in super().stream(key, start, end):
            yield bytes([data[0] ^ 1]) + data[1:] if lie else data
            lie = False


async def commit(storage: LyingStorage, lies: int) -> bytes:
    """Three requests bring a chunk each; the last one ends the session. Returns what is stored then."""
    state: dict[str, object] = {}
    offset = 0
    for chunk in CHUNKS[:2]:
        writer = await storage.open_upload("session", offset, state)
        await writer.write(chunk)
        offset, state = writer.offset, await writer.pause()
    writer = await storage.open_upload("session", offset, state)
    await writer.write(CHUNKS[2])
    assert await writer.digest("sha256") == hashlib.sha256(b"".join(CHUNKS)).hexdigest()
    storage.lies = lies
    key = await writer.commit("00key")
    storage.lies = 0
    await writer.finish()
    size = sum(map(len, CHUNKS))
    return b"".join([data async for data in storage.stream(key, 0, size)])


def test_a_bad_read_is_read_again() -> None:
    storage = LyingStorage(MemoryStore())
    assert asyncio.run(commit(storage, 1)) == b"".join(CHUNKS)
    assert len(asyncio.run(names(storage))) == 1


def test_bad_reads_are_no_blob() -> None:
    with pytest.raises(UnavailableError):
        asyncio.run(commit(LyingStorage(MemoryStore()), 6))


async def names(storage: ObjectStorage) -> list[str]:
    return [item.key async for item in storage.list()]
