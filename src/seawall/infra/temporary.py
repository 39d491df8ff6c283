"""Folders among temporary files that a process needs for as long as it runs, which may be months.

What tidies up there takes what nobody has touched for days. systemd-tmpfiles leaves alone what it cannot lock
(tmpfiles.d(5), "Age"), so these folders are locked. Other programs
do not ask: what they took is made again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import threading
from pathlib import Path

# prometheus_client's: where the processes of an instance count together.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LOOK_SECONDS = 10.0


def temporary_folder(prefix: str) -> Path:
    """A new folder that only this user reads, locked until this process ends."""
    folder = tempfile.mkdtemp(prefix=prefix)
    # Never closed: the lock goes with the process. Some network file systems have no locks.
    with contextlib.suppress(OSError):
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_SH)
    return Path(folder)


def ensure(folder: str | Path) -> None:
    """Make the folder again if it was removed. Raises OSError, also for a folder that somebody else made."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "the folder of metrics is not of this user alone", str(folder))


class Counted:
    """The files of this process in the folder of metrics: when they are removed, new ones are begun.

    Counts begin at zero then, as after a start, which is what Prometheus expects of counters.
    """

    def __init__(self) -> None:
        self._lives = 0
        self._seen: set[str] = set()
        # Whether new files are to be begun.
        self._gone = False
        self._name()
        # Asked for at each count, so that it is kept.
        os.register_at_fork(after_in_child=self._name)

    def _name(self) -> None:
        pid = os.getpid()
        self._process: int | str = str(pid) if self._lives % 2 else pid

    def process(self) -> int | str:
        """What prometheus_client is to take for the process; it begins new files when this changes.

        The name of the files stays the same: a number and its text differ, and are written alike.
        """
        if self._gone:
            # Right before the files are opened: the folder may have been removed since the last look. Without
            # it the process goes on with the files that it has open.
            with contextlib.suppress(OSError):
                ensure(os.environ[METRICS_VARIABLE])
                self._gone = False
                self._lives += 1
                self._name()
        return self._process

    def look(self, folder: Path) -> None:
        """Have new files begun, with the next count, if one is gone."""
        ensure(folder)
        here = {file.name for file in folder.glob(f"*_{os.getpid()}.db")}
        if self._seen - here:
            self._gone = True
            here = set()
        self._seen = here

    def watch(self, folder: Path) -> None:
        """Look now, and in a thread now and then until the process ends."""
        self.look(folder)

        def run() -> None:
            stop = threading.Event()
            while not stop.wait(_LOOK_SECONDS):
                try:
                    self.look(folder)
                except OSError:
                    # No room, or no right: the next look may find some.
                    continue

        threading.Thread(target=run, name="metrics-folder", daemon=True).start()
