"""What a cache of blobs does for the storage behind it, and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Kept(Protocol):
    """A blob that the cache has."""

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive); ends early where they are wrong or cannot be read."""


class Filling(Protocol):
    """A blob on its way into the cache."""

    async def write(self, data: bytes) -> None:
        """The next bytes."""

    async def commit(self) -> None:
        """All bytes were written, and their digest was right."""

    async def abort(self) -> None:
        """Forget what was written; nothing happens after `commit`."""


class BlobCache(Protocol):
    """What the reader of blobs may ask of a cache. None of it raises."""

    async def open(self, digest: str, size: int) -> Kept | None:
        """The blob, None where it is not kept."""

    async def fill(self, digest: str, size: int) -> Filling | None:
        """A place for the blob, None where it is not to be kept."""


class NoCache:
    """See BlobCache: has nothing and keeps nothing."""

    async def open(self, digest: str, size: int) -> Kept | None:
        """See BlobCache.open."""
        del digest, size
        return None

    async def fill(self, digest: str, size: int) -> Filling | None:
        """See BlobCache.fill."""
        del digest, size
        return None
