"""The bytes of blobs as storage has them: proven before anybody gets them, and missed when they are gone.

Storage can lie: a disk flips a bit, a bucket is copied incompletely. So small blobs are kept in memory only
after their digest was checked, a blob that is streamed whole is hashed on the way and its last piece waits
for the digest, and "it exists" is said only of what storage has. A file that the server sends by itself is
not read here: the scrub (`seawall.registry.scrub`) proves those.

Reads of an object store may be answered from a local cache (`seawall.infra.storage.cache`), which is filled
with what was proven. Whether a blob is there is always asked of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import structlog
from sqlalchemy import Connection, select

from seawall.infra.db import Database
from seawall.infra.storage import BlobStorage
from seawall.infra.storage.blob_cache import BlobCache, Filling, NoCache
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.kernel.names import digest_of
from seawall.registry.model import Blob
from seawall.registry.tables import blobs

# Blobs up to this size (image configs, mostly) are answered from memory: handing a file to the server
# costs more than its few bytes. The cache holds at most the second number of bytes a process.
SMALL_BLOB = 64 * 1024
_SMALL_TOTAL = 32 * 1024 * 1024
# So long a file that was just sent counts as there; the look costs as much as the rest of a request.
_SEEN_SECONDS = 1.0
_SEEN_FILES = 4096
# Longer pieces are hashed in a thread.
_INLINE = 64 * 1024
# Of how many blobs, the oldest and the newest, `has_none` asks. Fewer than the second number prove nothing.
_SAMPLE = 10
_FEWEST = 3
log: Any = structlog.get_logger("seawall.storage")
_KEY = re.compile(r"(?P<value>[0-9a-f]{32,128})\.(?P<algorithm>[a-z0-9]+)\.[0-9a-f]{8}")


def digest_of_key(key: str) -> str:
    """The digest of the blob that is stored under a key; empty for any other key."""
    named = _KEY.fullmatch(key)
    return f"{named['algorithm']}:{named['value']}" if named else ""


async def has_none(db: Database, storage: BlobStorage) -> int:
    """How many blobs of the database were looked for, where storage has none of them; else 0.

    Such a storage is another one, or its folder is the empty one below a share that is not mounted: what is
    pushed there is missing everywhere else, and once the share is back.
    """

    def sample(connection: Connection) -> list[str]:
        found: dict[str, None] = {}
        for order in (blobs.c.touched_at.desc(), blobs.c.touched_at):
            query = select(blobs.c.storage_key).order_by(order).limit(_SAMPLE)
            found |= dict.fromkeys(connection.execute(query).scalars())
        return list(found)

    keys = await db.read(sample)
    if len(keys) < _FEWEST:
        return 0
    for key in keys:
        if await storage.size(key) is not None:
            return 0
    return len(keys)


class StoredBlobs:
    """Reads the bytes of blobs, and proves them."""

    def __init__(self, storage: BlobStorage, cache: BlobCache | None = None) -> None:
        self._storage = storage
        self._cache = cache or NoCache()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        # By storage key: when storage last had all bytes (monotonic), the oldest first.
        self._seen: OrderedDict[str, float] = OrderedDict()

    async def require(self, blob: Blob) -> None:
        """Raises BLOB_UNKNOWN when storage has not all bytes of the blob: who has it may push it again."""
        if not await self.has(blob.key, blob.size):
            raise missing(blob.digest)

    async def require_file(self, blob: Blob) -> None:
        """`require` for a file that is about to be sent: what was there a second ago is not asked for again.

        A file that goes meanwhile fails the answer, as one would that goes after the look. Who asks again
        learns what `require` says.
        """
        now = time.monotonic()
        if now - self._seen.get(blob.key, -_SEEN_SECONDS) < _SEEN_SECONDS:
            return
        await self.require(blob)
        self._seen[blob.key] = now
        self._seen.move_to_end(blob.key)
        if len(self._seen) > _SEEN_FILES:
            self._seen.popitem(last=False)

    async def has(self, key: str, size: int) -> bool:
        """Whether storage has `size` bytes under `key`."""
        with _reading():
            return await self._storage.size(key) == size

    async def small(self, blob: Blob) -> bytes | None:
        """The bytes of a blob of at most SMALL_BLOB bytes, None for larger ones.

        Kept by storage key, which never gets other bytes; that the blob is still there is for the caller
        to know (`Blobs.get`). Raises BLOB_UNKNOWN when storage has no bytes, UnavailableError when it has
        wrong ones twice.
        """
        if blob.size > SMALL_BLOB:
            return None
        data = self._kept.get(blob.key)
        if data is None:
            data = await self._proven(blob)
            if blob.key not in self._kept:  # another request may have read it in the meantime
                self._kept[blob.key] = data
                self._bytes += len(data)
            while self._bytes > _SMALL_TOTAL:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data

    async def _proven(self, blob: Blob) -> bytes:
        algorithm = blob.digest.partition(":")[0]
        kept = await self._cache.open(blob.digest, blob.size)
        if kept is not None:
            data = b"".join([part async for part in kept.read(0, blob.size)])
            if digest_of(data, algorithm) == blob.digest:
                return data
        for _ in range(2):
            with _reading(blob.digest):
                data = b"".join([part async for part in self._storage.stream(blob.key, 0, blob.size)])
            if digest_of(data, algorithm) == blob.digest:
                filling = await self._cache.fill(blob.digest, blob.size)
                if filling is not None:
                    await filling.write(data)
                    await filling.commit()
                return data
            log.error("storage returned wrong bytes", digest=blob.digest, key=blob.key)
        raise _damaged(blob.digest)

    async def stream(self, blob: Blob, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) of the blob; the whole of it is proven before its last piece.

        Raises BLOB_UNKNOWN when storage has no bytes, UnavailableError instead of the end of wrong ones.
        """
        whole = start == 0 and end == blob.size
        kept = await self._cache.open(blob.digest, blob.size)
        if kept is not None:
            async for data in kept.read(start, end):
                start += len(data)
                yield data
            if start >= end:
                return
            # What it lacks comes from the store, as a range would.
            whole = whole and start == 0
        filling = await self._cache.fill(blob.digest, blob.size) if whole else None
        try:
            async for data in self._from_storage(blob, start, end, filling):
                yield data
        finally:
            if filling is not None:
                await filling.abort()

    async def _from_storage(
        self, blob: Blob, start: int, end: int, filling: Filling | None
    ) -> AsyncIterator[bytes]:
        whole = start == 0 and end == blob.size
        algorithm, _, expected = blob.digest.partition(":")
        running = hashlib.new(algorithm)
        held: bytes | None = None
        with _reading(blob.digest):
            async for data in self._storage.stream(blob.key, start, end):
                if not whole:
                    yield data
                    continue
                if held is not None:
                    yield held
                held = data
                if filling is not None:
                    await filling.write(data)
                if len(data) > _INLINE:
                    await asyncio.to_thread(running.update, data)
                else:
                    running.update(data)
        if held is not None:
            if running.hexdigest() != expected:
                log.error("storage returned wrong bytes", digest=blob.digest, key=blob.key)
                raise _damaged(blob.digest)
            if filling is not None:
                await filling.commit()
            yield held


@contextlib.contextmanager
def _reading(digest: str = "") -> Iterator[None]:
    """Absent bytes are BLOB_UNKNOWN, a disk that cannot be read is UnavailableError."""
    try:
        yield
    except FileNotFoundError:
        raise missing(digest) from None
    except OSError as error:
        raise UnavailableError(f"storage cannot be read: {error.strerror or error}") from error


def missing(digest: str) -> RegistryError:
    """What a blob without bytes is: not there, so that clients push it again."""
    log.error("bytes of a blob are missing from storage", digest=digest)
    return RegistryError(
        "BLOB_UNKNOWN", "the bytes of this blob are missing from storage", detail={"digest": digest}
    )


def _damaged(digest: str) -> UnavailableError:
    return UnavailableError(f"storage returned bytes that are not those of {digest}")
