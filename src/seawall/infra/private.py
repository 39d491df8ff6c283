"""Folders and files that nobody but this account may read."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO, Any

from seawall.kernel.errors import ConfigError


def private_folder(path: Path) -> None:
    """Make the folder, with those around it, and take it from other accounts (0700) where it is ours.

    Raises ConfigError when something else is in its place.
    """
    try:
        path.mkdir(parents=True, mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{path.absolute()}: Not a directory") from None
    _close(path, 0o700)


def private_file(path: Path) -> None:
    """Make an empty file if there is none, and take it from other accounts (0600) where it is ours.

    What cannot be made here, its user cannot open either, and says so.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    _close(path, 0o600)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _close(path: Path, mode: int) -> None:
    # What is not ours, or on a file system without modes, is left as its administrator made it.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        status = path.stat()
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & ~mode & 0o777:
            path.chmod(stat.S_IMODE(status.st_mode) & (mode | 0o7000))


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file of ours; a new one is 0600."""
    return open(path, mode, opener=_opener)
