"""Hot blobs of an object store on a local disk: bounded, shared by a host's processes, never trusted.

Layout below the root: `blobs/<2 hex>/<algorithm>.<hex>` for what is kept, `filling/` for what is being
written, and `account`, which has the bytes and files of both. A kept file is the blob and then a checksum of
each of its pieces, so a piece that a disk has changed is noticed before anybody gets it; the file is dropped
then, and the reader goes on at the store. Files are named by digest, and a digest never gets other bytes.

A file is counted before it is made and until it is gone, under a lock on `account`, so that all processes
together keep the bound. What a killed process was writing is no longer locked by anybody, and goes with the
next look at the directory. Files of other names are not the cache's: they are neither counted nor removed.
Nothing here is needed: a disk that is full or fails, or a process that keeps the lock, means no cache for a
while, never an error for a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import structlog

from seawall.infra.file_lock import lock_file
from seawall.infra.private import private_folder
from seawall.infra.storage.blob_cache import Filling, Kept
from seawall.infra.storage.cache_account import FILES, Account, entries_of, is_abandoned
from seawall.infra.telemetry import Counter
from seawall.infra.threads import Threads
from seawall.kernel.errors import ConfigError

T = TypeVar("T")
log: Any = structlog.get_logger("seawall.storage")

REQUESTS = Counter(
    "seawall_storage_cache_requests_total",
    "Reads of blobs through the cache of the object store; damaged: the cache had wrong bytes",
    ["result"],
    known=[("hit",), ("miss",), ("damaged",)],
)
BYTES = Counter(
    "seawall_storage_cache_bytes_total",
    "Bytes of blobs written to the cache, and read from it",
    ["direction"],
    known=[("in",), ("out",)],
)
EVICTED = Counter(
    "seawall_storage_cache_evicted_total", "Blobs that were removed from the cache to make room"
)
ERRORS = Counter(
    "seawall_storage_cache_errors_total",
    "Errors of the cache's disk; each switches the cache off for a while",
)

PIECE = 1024 * 1024
_SUM = 16
# Where room is made, so much of it at a time.
_KEEP = 0.9
# A blob above this share of the bound would push out too much else.
_LARGEST = 4
# How often a file's time of use is written, and how long a disk with an error is left alone (seconds).
_USED_SECONDS = 60.0
_PAUSE_SECONDS = 30.0
# A process that is stopped while it has the account locked must not stop the others; a look at all files
# takes less than a second.
_LOCK_SECONDS = 3.0
_ASKED = 16_384
# What may be in the folder at the start.
_OWN = {"blobs", "filling", "account", "lost+found"}
_NAME = re.compile(r"[a-z0-9]+\.[0-9a-f]{32,128}")
_FILLING = re.compile(_NAME.pattern + r"\.[0-9a-f]{8}")


class DiskCache:
    """See BlobCache; the module text has layout and guarantees."""

    def __init__(self, root: Path, limit: int) -> None:
        """`limit`: bytes of all files together.

        Raises ConfigError where `root` cannot be a folder, or is that of something else.
        """
        self._root = root
        self._limit = limit
        self._pool = Threads(8, "cache")
        self._paused_until = 0.0
        # Blobs of late requests, and those that this process is writing now.
        self._asked: OrderedDict[str, None] = OrderedDict()
        self._filling: set[str] = set()
        others = {entry.name for entry in entries_of(root) if not entry.name.startswith(".")} - _OWN
        if others:
            raise ConfigError(f"{root}: has other files ({min(others)}); the cache needs its own folder")
        try:
            for folder in (root, root / "blobs", root / "filling"):
                private_folder(folder)
        except OSError as error:
            self._fail(error)

    async def open(self, digest: str, size: int) -> Kept | None:
        """See BlobCache.open."""
        found = await self.attempt(self._open, digest, size)
        REQUESTS.inc("miss" if found is None else "hit")
        return found

    async def fill(self, digest: str, size: int) -> Filling | None:
        """See BlobCache.fill. What does not fit without removing other blobs is kept when asked for again."""
        again = digest in self._asked
        self._asked[digest] = None
        self._asked.move_to_end(digest)
        if len(self._asked) > _ASKED:
            self._asked.popitem(last=False)
        if not size or digest in self._filling or _stored_size(size) > self._limit // _LARGEST:
            return None
        self._filling.add(digest)
        found = None
        try:
            found = await self.attempt(self._reserve, digest, size, again)
        finally:
            if found is None:
                self._filling.discard(digest)
        return found

    def filled(self, digest: str) -> None:
        """The blob is no longer being written by this process."""
        self._filling.discard(digest)

    async def attempt(self, fn: Callable[..., T | None], *args: Any) -> T | None:
        """`fn` in a thread; None where the disk does not do it."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            return await self._pool.run(fn, *args)
        except OSError as error:
            self._fail(error)
            return None

    def path(self, digest: str) -> Path:
        """The file of a blob that is kept."""
        algorithm, _, value = digest.partition(":")
        return self._root / "blobs" / value[:2] / f"{algorithm}.{value}"

    def release(self, path: Path, size: int) -> None:
        """Remove a file of `size` stored bytes, and count it no more (blocking)."""
        # Under the lock: who counts all files meanwhile must not leave it out before it is subtracted.
        with self._account() as account:
            try:
                path.unlink()
            except FileNotFoundError:
                return
            account.add(-size, -1)

    def _fail(self, error: OSError) -> None:
        ERRORS.inc()
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        log.warning(
            "cache of the object store fails; going on without it", error=error.strerror or str(error)
        )

    def _open(self, digest: str, size: int) -> _Reader | None:
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        reader = _Reader(self, path, fd, size)
        found = os.fstat(fd)
        if found.st_size != _stored_size(size):
            self.release(path, found.st_size)
            return None
        reader.sums = os.pread(fd, found.st_size - size, size)
        if time.time() - found.st_mtime > _USED_SECONDS:
            with contextlib.suppress(OSError):
                os.utime(fd)
        return reader

    def _reserve(self, digest: str, size: int, again: bool) -> _File | None:
        """A file with room for the blob, counted; None where there is no room for it (blocking)."""
        stored = _stored_size(size)
        if self.path(digest).exists():
            return None
        with self._account() as account:
            if not account.fits(stored, self._limit):
                if not again:
                    return None
                account.set(*self._make_room(stored))
                if not account.fits(stored, self._limit):
                    return None
            account.add(stored, 1)
            path = self._root / "filling" / f"{self.path(digest).name}.{secrets.token_hex(4)}"
            fd = -1
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                # Held while it is written: who finds it unlocked knows that its writer has died.
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.posix_fallocate(fd, 0, stored)
            except OSError:
                if fd >= 0:
                    path.unlink()
                    os.close(fd)
                account.add(-stored, -1)
                raise
        return _File(self, digest, size, fd, path)

    def _make_room(self, wanted: int) -> tuple[int, int]:
        """Remove what was used longest ago until there is room; (bytes, files) that are left (blocking)."""
        total = files = 0
        # In this order: a file that is moved meanwhile is counted twice, and not missed.
        for entry in entries_of(self._root / "filling"):
            if not _FILLING.fullmatch(entry.name):
                continue
            if is_abandoned(entry):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
                continue
            with contextlib.suppress(FileNotFoundError):
                total, files = total + entry.stat().st_size, files + 1
        kept: list[tuple[float, int, str]] = []
        for shard in entries_of(self._root / "blobs"):
            for entry in entries_of(Path(shard.path)):
                if not _NAME.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat()
                    kept.append((found.st_mtime, found.st_size, entry.path))
        total += sum(size for _, size, _ in kept)
        files += len(kept)
        most = min(self._limit - wanted, int(self._limit * _KEEP))
        for _, size, path in sorted(kept):
            if total <= most and files < FILES * _KEEP:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            EVICTED.inc()
            total, files = total - size, files - 1
        return total, files

    @contextlib.contextmanager
    def _account(self) -> Iterator[Account]:
        fd = os.open(self._root / "account", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock_file(fd, _LOCK_SECONDS)
            account = Account(fd)
            if not account.known:
                account.set(*self._make_room(0))
            yield account
        finally:
            os.close(fd)


class _Reader:
    """See Kept. The file is closed with the last reference: a thread may read longer than a request lasts."""

    def __init__(self, cache: DiskCache, path: Path, fd: int, size: int) -> None:
        self._cache = cache
        self._path = path
        self._fd = fd
        self._size = size
        self.sums = b""

    def __del__(self) -> None:
        os.close(self._fd)

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """See Kept.read."""
        while start < end:
            number = start // PIECE
            data = await self._cache.attempt(self._piece, number)
            if data is None:
                return
            part = data[start - number * PIECE : end - number * PIECE]
            start += len(part)
            BYTES.inc("out", by=len(part))
            yield part

    def _piece(self, number: int) -> bytes | None:
        """A piece that has its checksum, None for a wrong one: then the file is dropped."""
        wanted = min(PIECE, self._size - number * PIECE)
        try:
            data = os.pread(self._fd, wanted, number * PIECE)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        if len(data) == wanted and _sum(data) == self.sums[number * _SUM : (number + 1) * _SUM]:
            return data
        REQUESTS.inc("damaged")
        log.error("cache of the object store had wrong bytes", file=self._path.name)
        self._cache.release(self._path, _stored_size(self._size))
        return None


class _File:
    """See Filling."""

    def __init__(self, cache: DiskCache, digest: str, size: int, fd: int, path: Path) -> None:
        self._cache = cache
        self._digest = digest
        self._size = size
        self._fd = fd
        self._path = path
        # Held by the thread that uses the descriptor: a request may end before its last write does.
        self._lock = threading.Lock()
        self._done = False
        self._at = 0
        self._sums = bytearray()
        self._running = hashlib.blake2b(digest_size=_SUM)

    async def write(self, data: bytes) -> None:
        """See Filling.write."""
        if not self._done and await self._cache.attempt(self._write, data) is None:
            await self.abort()

    async def commit(self) -> None:
        """See Filling.commit."""
        if not self._done and self._at == self._size and await self._cache.attempt(self._commit):
            BYTES.inc("in", by=self._size)
        await self.abort()

    async def abort(self) -> None:
        """See Filling.abort."""
        if not self._done:
            # Also while the disk is left alone: what stays here would be counted until room is made.
            await asyncio.to_thread(self._abort)

    def __del__(self) -> None:
        # Of a request that was cancelled while its file was made.
        if not self._done:
            self._abort()

    def _abort(self) -> None:
        with self._lock:
            if self._done:
                return
            try:
                self._cache.release(self._path, _stored_size(self._size))
            except OSError as error:
                log.warning("cannot remove a file of the cache", error=error.strerror)
            self._end()

    def _end(self) -> None:
        self._done = True
        os.close(self._fd)
        self._cache.filled(self._digest)

    def _write(self, data: bytes) -> bool:
        with self._lock:
            if self._done:
                return False
            self._append(data)
        return True

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            part = view[: PIECE - self._at % PIECE]
            done = os.pwrite(self._fd, part, self._at)
            self._running.update(part[:done])
            self._at += done
            view = view[done:]
            if self._at % PIECE == 0 or self._at == self._size:
                self._sums += self._running.digest()
                self._running = hashlib.blake2b(digest_size=_SUM)

    def _commit(self) -> bool:
        with self._lock:
            if self._done:
                return False
            os.pwrite(self._fd, self._sums, self._size)
            target = self._cache.path(self._digest)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(self._path, target)
            self._end()
        return True


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM).digest()


def _stored_size(size: int) -> int:
    """Bytes of the file of a blob of `size` bytes."""
    return size + -(-size // PIECE) * _SUM
