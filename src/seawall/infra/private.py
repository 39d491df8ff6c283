"""Folders and files that nobody but this account may read, and files that are never there by half."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
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


def write_whole(
    path: Path,
    content: bytes,
    *,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
    replace: bool = True,
) -> bool:
    """Write a file in one step: after a kill or a power cut it is the old one, the new one, or not there.

    With `owner` (user id, group id) root gives it away. Without `replace` a file that is there stays, and
    False is returned: of several processes one wins. Raises OSError naming `path`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as handle:
                os.fchmod(fd, mode)
                if owner is not None and os.geteuid() == 0:
                    os.fchown(fd, *owner)
                handle.write(content)
                handle.flush()
                os.fsync(fd)
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return True


def check_writable(path: Path) -> None:
    """Raise OSError naming `path` where no file can be written; what is there stays as it is."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.probe")
    try:
        write_whole(probe, b"x")
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(folder: Path) -> None:
    """Put on disk which files the folder has."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
