"""Blobs on a local or shared filesystem.

Layout below the root: `blobs/<2 hex>/<key>` for blobs and `uploads/<id>` for sessions. A blob appears by
`rename` of a file that was fsynced, and the directory is fsynced before the answer. A session's file
is held with `flock`, so two processes (on one host, or on hosts sharing NFSv4) never write it together;
the kernel lets go of it when a process dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.infra.private import sync_folder
from seawall.infra.storage.base import Location, StoredObject, UploadBusyError, UploadLostError
from seawall.infra.storage.tree import TREE, key_at, tree_path
from seawall.infra.threads import Threads
from seawall.kernel.errors import StorageFullError, WritesRefusedError

_CHUNK = 1024 * 1024
# A blob that came whole and is no longer is hashed on the event loop: it takes less than the hand-over would.
_TAIL = 32 * 1024


class FilesystemStorage:
    """Storage below one directory; see the module text for layout and durability."""

    locks_sessions = True

    def __init__(self, root: Path, *, threads: int = 16) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._uploads = root / "uploads"
        self._pool = Threads(threads, "storage")
        for directory in (self._blobs, self._uploads):
            directory.mkdir(parents=True, mode=0o700, exist_ok=True)

    async def begin_upload(self, upload_id: str) -> bool:
        """See BlobStorage.begin_upload: an empty file, which goes with the session."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        await self.write(lambda: os.close(os.open(self.upload_path(upload_id), flags, 0o600)))
        return True

    async def upload_size(self, upload_id: str) -> int | None:
        """See BlobStorage.upload_size."""
        return await self._run(self._upload_size, upload_id)  # type: ignore[no-any-return]

    def _upload_size(self, upload_id: str) -> int | None:
        # Opened: NFS would tell from memory what another host has changed since.
        try:
            fd = os.open(self.upload_path(upload_id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    async def open_upload(
        self, upload_id: str, offset: int, state: dict[str, Any], *, last: bool = False
    ) -> FileWriter:
        """See BlobStorage.open_upload."""
        writer = FileWriter(self, upload_id, offset, state, last=last)
        # Opening a fresh session is deferred to its first write, so a small blob costs one thread hop.
        if offset or state.get("begun"):
            await self.write(writer.open)
        return writer

    async def drop_upload(self, upload_id: str, state: dict[str, Any]) -> None:
        """See BlobStorage.drop_upload."""
        await self._run(self.upload_path(upload_id).unlink, True)

    async def drop_resting(self, before: float) -> int:
        """See BlobStorage.drop_resting."""
        return await self._run(self._drop_resting, before)  # type: ignore[no-any-return]

    def _drop_resting(self, before: float) -> int:
        dropped = 0
        with os.scandir(self._uploads) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)
                        dropped += 1
        return dropped

    async def drop_broken(self, before: float) -> int:
        """See BlobStorage.drop_broken: everything here is a file that is seen."""
        del before
        return 0

    async def put(self, key: str, data: bytes) -> None:
        """See BlobStorage.put."""
        writer = FileWriter(self, key, 0, {}, last=True)
        await writer.write(data)
        await writer.commit(key)

    async def size(self, key: str) -> int | None:
        """See BlobStorage.size."""
        try:
            return int((await self._run(os.stat, self.blob_path(key))).st_size)
        except FileNotFoundError:
            return None

    def locate(self, key: str) -> Location:
        """See BlobStorage.locate."""
        return Location(path=self.blob_path(key))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See BlobStorage.stream."""
        fd = await self._run(os.open, self.blob_path(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            while start < end:
                data = await self._run(os.pread, fd, min(_CHUNK, end - start), start)
                if not data:
                    raise OSError(f"blob {key} is shorter than its record says")
                start += len(data)
                yield data
        finally:
            os.close(fd)

    async def delete(self, key: str) -> None:
        """See BlobStorage.delete."""
        await self._run(self.blob_path(key).unlink, True)

    async def delete_all(self, keys: Sequence[str]) -> None:
        """See BlobStorage.delete_all."""

        def unlink() -> None:
            for key in keys:
                self.blob_path(key).unlink(missing_ok=True)

        await self._run(unlink)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """See BlobStorage.list."""
        for shard in sorted(await self._run(os.listdir, self._blobs)):
            if prefix and shard != prefix[:2]:
                continue
            for item in await self._run(lambda d: list(_scan(d)), self._blobs / shard):
                if item.key.startswith(prefix):
                    yield item

    async def check(self) -> None:
        """See BlobStorage.check."""
        await self._run(self._check)

    async def list_tree(self) -> AsyncIterator[StoredObject]:
        """See BlobStorage.list_tree."""
        for algorithm in ("sha256", "sha512"):
            root = self.root / TREE / algorithm
            for shard in await self._run(_names, root):
                for item in await self._run(lambda d: list(_tree_shard(d)), root / shard):
                    yield item

    def blob_path(self, key: str) -> Path:
        """The file of `key`; keys come from the domain, never from a client."""
        adopted = tree_path(key)
        if adopted is not None:
            return self.root / adopted
        return self._blobs / key[:2] / key

    def upload_path(self, upload_id: str) -> Path:
        """The file of a session."""
        return self._uploads / upload_id

    def _check(self) -> None:
        probe = self._uploads / f".probe-{os.getpid()}"
        try:
            with writing():
                probe.write_bytes(b"x")
                probe.unlink()
        except WritesRefusedError:
            # A full disk leaves the empty file.
            with contextlib.suppress(OSError):
                probe.unlink()
            with os.scandir(self._blobs) as entries:
                next(entries, None)
            raise

    async def write(self, fn: Any, *args: Any) -> Any:
        """Run a function that writes in a thread. Raises WritesRefusedError where the disk takes nothing."""
        with writing():
            return await self._run(fn, *args)

    async def _run(self, fn: Any, *args: Any) -> Any:
        return await self._pool.run(fn, *args)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Tell a disk that takes no writes now from other errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"storage is full: {(error.strerror or '').lower()}") from error
        if error.errno in (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENXIO, errno.EACCES, errno.EPERM):
            raise WritesRefusedError(f"storage takes no writes: {(error.strerror or '').lower()}") from error
        raise


class FileWriter:
    """One upload session's file, its lock and its running hash.

    `state["sha256"]` is the digest of the first `offset` bytes as the last writer knew it. When a request
    brings no more bytes (the closing PUT of Docker's clients), it answers `digest` without reading the
    file again, on whatever instance that request lands. It counts only while the file's time is
    `state["written"]` (nanoseconds): else somebody has written since, and has no record of it.
    """

    def __init__(
        self,
        storage: FilesystemStorage,
        upload_id: str,
        offset: int,
        state: dict[str, Any],
        *,
        last: bool = False,
    ) -> None:
        self._storage = storage
        self._path = storage.upload_path(upload_id)
        self._fd = -1
        self._offset = offset
        self._known: str | None = state.get("sha256")
        self._written: int | None = state.get("written")
        # Whether the file has bytes past `_offset`, which are cut by the first write.
        self._surplus = False
        # Bytes that the file has, if it must be there: it is the session.
        self._begun: int | None = state.get("begun")
        # None: the hash of the bytes before `offset` is not at hand and must be read back when needed.
        self._hash: Any = hashlib.sha256() if offset == 0 else None
        # Bytes after `_offset` that are hashed, and written with what comes next; only of a `last` writer.
        self._last = last
        self._tail: bytes | bytearray | memoryview = b""

    @property
    def offset(self) -> int:
        """Bytes the session holds."""
        return self._offset + len(self._tail)

    @property
    def surplus(self) -> bool:
        """See UploadWriter.surplus."""
        return self._surplus

    def open(self) -> None:
        """Open and lock the file (blocking)."""
        there = self._begun is not None or self._offset > 0
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | (0 if there else os.O_CREAT), 0o600)
        except FileNotFoundError:
            if not there:
                raise
            raise UploadLostError("its file is gone; another request may have ended it") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._require_same_file(fd)
            status = os.fstat(fd)
            size = status.st_size
            if size < self._offset:
                raise UploadLostError(f"holds {size} bytes, {self._offset} were recorded")
            if self._begun is not None and size != self._begun:
                raise UploadBusyError
            if status.st_mtime_ns != self._written:
                self._known = None
            self._surplus = size > self._offset
        except BlockingIOError:
            os.close(fd)
            raise UploadBusyError from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _require_same_file(self, fd: int) -> None:
        # Between our open and our lock, another request may have committed: the descriptor then is of a
        # stored blob, which must never be cut or written.
        mine = os.fstat(fd)
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            raise UploadLostError("session was finished by another request") from None
        if (mine.st_ino, mine.st_dev) != (named.st_ino, named.st_dev):
            raise UploadLostError("session was finished by another request")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """See UploadWriter.write; a small blob is written with its commit, which saves a hand-over."""
        if self._last and self._hash is not None and self._fd < 0 and not self._tail and len(data) <= _TAIL:
            self._hash.update(data)
            self._known = None
            self._tail = data
            return
        await self._storage.write(self._write, data)

    async def pause(self, *, held: bool = False) -> dict[str, Any]:
        """See UploadWriter.pause."""
        known = self._hash.hexdigest() if self._hash is not None else self._known
        written = await self._storage.write(self._pause, held)
        return {"sha256": known, "written": written} if known and written else {}

    async def leave(self) -> None:
        """See UploadWriter.leave."""
        if self._fd >= 0:
            await self._storage._run(self._close)

    async def digest(self, algorithm: str) -> str:
        """See UploadWriter.digest."""
        if algorithm == "sha256":
            if self._hash is not None:
                return str(self._hash.hexdigest())
            if self._known is not None:
                return self._known
        return str(await self._storage._run(self._read_back, algorithm))

    async def commit(self, key: str) -> str:
        """See UploadWriter.commit."""
        await self._storage.write(self._commit, key)
        return key

    async def finish(self) -> None:
        """See UploadWriter.finish; a committed file has left the session."""

    async def abort(self) -> None:
        """See UploadWriter.abort."""
        await self._storage._run(self._abort)

    async def release(self) -> None:
        """See UploadWriter.release; bytes past the recorded offset are cut by the next writer."""
        self._tail = b""
        if self._fd >= 0:
            await self._storage._run(self._close)

    def _ready(self) -> None:
        """Have the file open, with the bytes up to `_offset` and no more."""
        if self._fd < 0:
            self.open()
        if self._surplus:
            os.ftruncate(self._fd, self._offset)
            self._surplus = False
        self._write_tail()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._ready()
        if self._hash is None:
            self._hash = self._rehash("sha256")
        self._known = None
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self._offset)
            self._hash.update(view[:written])
            self._offset += written
            view = view[written:]

    def _write_tail(self) -> None:
        while self._tail:
            written = os.pwrite(self._fd, self._tail, self._offset)
            self._offset += written
            self._tail = memoryview(self._tail)[written:]

    def _pause(self, held: bool) -> int | None:
        if self._tail:
            self._ready()
        # The session has been used, also where no bytes came (`FilesystemStorage.drop_resting`).
        if self._fd < 0:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path)
            return None
        # Not the system's time, which has steps of some milliseconds: others write in one of these.
        now = time.time_ns()
        os.utime(self._fd, ns=(now, now))
        written = os.fstat(self._fd).st_mtime_ns
        if not held:
            self._close()
        return written

    def _rehash(self, algorithm: str) -> Any:
        self._ready()
        running = hashlib.new(algorithm)
        position = 0
        while position < self._offset:
            data = os.pread(self._fd, min(_CHUNK, self._offset - position), position)
            if not data:
                raise UploadLostError("file ends early")
            running.update(data)
            position += len(data)
        return running

    def _read_back(self, algorithm: str) -> str:
        return str(self._rehash(algorithm).hexdigest())

    def _commit(self, key: str) -> None:
        self._ready()
        # The file may be a session's that rested for days; as a blob it is new, and the sweep for orphans
        # (which goes by age) must not take it before its metadata are committed.
        os.utime(self._fd)
        os.fsync(self._fd)
        target = self._storage.blob_path(key)
        try:
            os.rename(self._path, target)
        except FileNotFoundError:
            # First blob of its shard: the new directory's own entry must be durable too.
            for folder in reversed([target.parent, *target.parent.parents]):
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
            try:
                os.rename(self._path, target)
            except FileNotFoundError:
                raise UploadLostError("session was ended by another request") from None
        sync_folder(target.parent)
        self._close()

    def _abort(self) -> None:
        # Unlink while the lock is held, so that nobody goes on with a session that is being dropped.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _tree_shard(directory: Path) -> Iterator[StoredObject]:
    for name in _names(directory) if directory.is_dir() else ():
        key = key_at(f"{directory.parent.name}/{directory.name}/{name}/data")
        if key is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                stat = os.stat(directory / name / "data")
                yield StoredObject(key, stat.st_size, stat.st_mtime)


def _scan(directory: Path) -> Iterator[StoredObject]:
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat(follow_symlinks=False)
                yield StoredObject(entry.name, stat.st_size, stat.st_mtime)
