"""What a command shows on a terminal: standard error is a pseudo-terminal, standard output a file."""

from __future__ import annotations

import os
import pty
import subprocess
import tempfile
import threading

from tests.support.forked import Forked
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
    environment = {**server.environment, "TERM": "xterm", "COLUMNS": "120"}
    with tempfile.TemporaryFile() as out, open(os.devnull, "rb") as nothing:
        output = (out.fileno(), theirs)
        try:
            process = Forked(
                list(words), environment, server.data_dir.parent, output=output, stdin=nothing.fileno()
            )
        finally:
            os.close(theirs)
        try:
            code = process.wait(240)
        finally:
            process.kill()
            reader.join()
            os.close(ours)
        out.seek(0)
        text = out.read().decode()
    return subprocess.CompletedProcess(process.args, code, text), shown.decode()
