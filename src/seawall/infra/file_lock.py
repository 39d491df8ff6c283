"""Locks of files (flock(2)) that nobody waits for without end: a process that is stopped keeps its locks."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

_STEP_SECONDS = 0.005


def lock_file(fd: int, seconds: float) -> None:
    """Lock a file for this process. Raises TimeoutError when another one keeps it longer than `seconds`."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, f"{holder(fd)} keeps the file locked") from None
            time.sleep(_STEP_SECONDS)


def holder(fd: int) -> str:
    """Who has locked the file, for a message: the process, and whether it is stopped (proc(5)).

    Without its command line, which may hold secrets: clients of the registry read the message too.
    """
    try:
        found = os.fstat(fd)
        place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        # 1: FLOCK  ADVISORY  WRITE 708 08:02:793418 0 EOF
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        pid = next(int(line[4]) for line in locks if line[1] == "FLOCK" and line[5] == place)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError, StopIteration):
        # A process of another host or container.
        return "another process"
    return f"process {pid}{', which is stopped,' if state in 'Tt' else ''}"
