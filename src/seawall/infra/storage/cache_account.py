"""How many bytes and files the cache's folder has: a file that all processes count in, under a lock."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# Files, whatever their size: all of them are looked at when room is made.
FILES = 50_000
_ACCOUNT = struct.Struct("!QQ")


class Account:
    """Bytes and files of a cache, as its file `account` says; for the process that has locked it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        data = os.pread(fd, _ACCOUNT.size, 0)
        self.known = len(data) == _ACCOUNT.size
        found: tuple[int, int] = _ACCOUNT.unpack(data) if self.known else (0, 0)
        self._bytes, self._files = found

    def fits(self, size: int, limit: int) -> bool:
        """Whether a file of `size` bytes keeps the cache within `limit` bytes."""
        return self._bytes + size <= limit and self._files < FILES

    def add(self, size: int, files: int) -> None:
        """Count bytes and files that came, or with negative figures went."""
        self.set(max(self._bytes + size, 0), max(self._files + files, 0))

    def set(self, size: int, files: int) -> None:
        """Write what was found by a look at the folder."""
        self._bytes, self._files = size, files
        os.pwrite(self._fd, _ACCOUNT.pack(size, files), 0)


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing when there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_abandoned(entry: os.DirEntry[str]) -> bool:
    """Whether nobody writes the file any more.

    For the process that has locked the account: files are made under that lock.
    """
    try:
        fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Moved into place between the listing and the lock, it is not abandoned.
        return os.path.exists(entry.path)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
