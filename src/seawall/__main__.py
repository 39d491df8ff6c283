"""`seawall`, and `python -m seawall`: Ctrl-C ends quietly, also while the program is still being read."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NoReturn

from seawall.kernel.interrupt import leave_at_once

_INTERRUPTED = 130


def main() -> None:
    """Run the command line given in `sys.argv`."""
    signal.signal(signal.SIGINT, leave_at_once)
    from seawall.process.commands.boundary import main as command

    try:
        command()
    except SystemExit as end:
        _decided(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise


def _decided(code: int) -> None:
    """Let Ctrl-C end the rest, such as the wait for threads, with the exit code that is decided already.

    After an interruption this is the end: `python -m` remembers a KeyboardInterrupt that came in code
    compiled from a text (as each dataclass's is), though it was caught, and ends by SIGINT, not with 130.
    """

    def leave(*_signal: object) -> NoReturn:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)

    signal.signal(signal.SIGINT, leave)
    if code == _INTERRUPTED:
        leave()


if __name__ == "__main__":
    main()
