"""What a command shows on a terminal: standard error is a pseudo-terminal, standard output a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import threading

from tests.support.processes import SEAWALL
from tests.support.registry import Registry


def at_terminal(server: Registry, *words: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a command on the server's data: (the command with its output, what its terminal got)."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                shown.extend(part)
        except OSError:
            return  # the last writer has closed it

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            [*SEAWALL, *words],
            env={**server.environment, "TERM": "xterm", "COLUMNS": "120"},
            cwd=server.data_dir.parent,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            timeout=240,
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return done, shown.decode()
