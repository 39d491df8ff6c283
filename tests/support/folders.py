"""Where the tests put their files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, which pytest's own may not be; deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_MEMORY = Path("/dev/shm")
_ROOM = 12 * 1024**3


def use_memory() -> None:
    """Put the temporary files of this process and of what it starts into memory, where there is room.

    A suite that runs over several workers waits for the disk otherwise: each of some thousand databases is
    flushed at every commit. `TMPDIR` that somebody has set stays.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    if shutil.disk_usage(_MEMORY).free < _ROOM or _available() < _ROOM or not _has_attributes():
        return
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None


def _has_attributes() -> bool:
    """Whether files there have extended attributes of users, which Swift wants (tmpfs: since Linux 6.6)."""
    with tempfile.NamedTemporaryFile(dir=_MEMORY) as file:
        try:
            os.setxattr(file.name, "user.seawall", b"1")
        except OSError:
            return False
    return True


def _available() -> int:
    """Bytes of memory that can be had without swapping (proc(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
