"""Bytes of uploads that are not in the object store yet: bounded in memory, whatever the number of clients.

A part goes to the store when it is whole, and a slow client takes minutes to send one. What is waiting for
the rest is kept in memory for as long as all clients together keep little; more is put into temporary files
(in `TMPDIR`). What is on its way to the store is counted too: an upload that would send too
much at once waits, and with it the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from typing import IO, Any

from seawall.kernel.errors import StorageFullError, UnavailableError


class Memory:
    """What the uploads of one process hold: at most half of `limit` waits, and about half is being sent."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes."""
        self._share = limit // 2
        self._waiting = 0
        self._sending = 0
        # Who waits to send how many bytes.
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def keep(self, size: int) -> bool:
        """Whether `size` more bytes may wait in memory; they are counted then, until `forget`."""
        if self._waiting + size > self._share:
            return False
        self._waiting += size
        return True

    def forget(self, size: int) -> None:
        """Bytes that were kept are no longer."""
        self._waiting -= size

    def reserve(self, size: int) -> bool:
        """Whether `size` more bytes may be sent; they are counted then, until `give_back`."""
        if self._queue or self._sending + size > self._share:
            return False
        self._sending += size
        return True

    def give_back(self, size: int) -> None:
        """Bytes that were reserved or lent are not needed any more."""
        self._sending -= size
        while self._queue and (not self._sending or self._sending + self._queue[0][0] <= self._share):
            wanted, waiter = self._queue.popleft()
            if not waiter.done():
                self._sending += wanted
                waiter.set_result(None)

    @contextlib.asynccontextmanager
    async def lent(self, size: int) -> AsyncIterator[None]:
        """`size` bytes to send; waits until others have sent theirs. What is above the share goes alone."""
        if self._sending or self._queue:
            if not self.reserve(size):
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._queue.append((size, waiter))
                try:
                    await waiter
                except asyncio.CancelledError:
                    if waiter.done() and not waiter.cancelled():
                        self.give_back(size)
                    raise
        else:
            self._sending += size
        try:
            yield
        finally:
            self.give_back(size)


class Spool:
    """Bytes of one upload, in the order in which they came; `size` of them."""

    def __init__(self, memory: Memory) -> None:
        self.size = 0
        self._memory = memory
        self._data = bytearray()
        self._file: IO[bytes] | None = None

    async def add(self, data: bytes | bytearray | memoryview) -> None:
        """Keep bytes. Raises StorageFullError or UnavailableError when the disk does not take them."""
        if self._file is None and self._memory.keep(len(data)):
            self._data += data
        else:
            try:
                await asyncio.to_thread(self._to_file, data)
            except OSError as error:
                text = f"temporary file in {tempfile.gettempdir()}: {error.strerror}"
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise (StorageFullError if full else UnavailableError)(text) from error
            # What was in memory is in the file now.
            self._memory.forget(len(self._data))
            self._data = bytearray()
        self.size += len(data)

    def hash_into(self, running: Any) -> None:
        """Update a hash with what is kept; for a thread."""
        running.update(self._data)
        if self._file is not None:
            self._file.seek(0)
            while data := self._file.read(1 << 20):
                running.update(data)

    @contextlib.asynccontextmanager
    async def taken(self) -> AsyncIterator[bytes | bytearray]:
        """What is kept, while it is sent; afterwards nothing is."""
        async with self._memory.lent(self.size):
            try:
                yield await asyncio.to_thread(self._all)
            finally:
                self.close()

    def close(self) -> None:
        """Drop what is kept."""
        self._memory.forget(len(self._data))
        self._data = bytearray()
        self.size = 0
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _to_file(self, data: bytes | bytearray | memoryview) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="seawall-upload-", buffering=0)  # noqa: SIM115
        for item in (self._data, data):
            view = memoryview(item)
            while view:
                view = view[self._file.write(view) or 0 :]

    def _all(self) -> bytes | bytearray:
        if self._file is None:
            return self._data
        self._file.seek(0)
        return self._file.read()
