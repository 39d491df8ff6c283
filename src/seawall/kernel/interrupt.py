"""The end of a program that has nothing to tidy up: imported first, so nothing heavy is imported here."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)


def leave_at_once(*_signal: object) -> NoReturn:
    """A handler for SIGINT: one line, exit code 130."""
    os.write(2, b"seawall: interrupted\n")
    os._exit(130)


def hold_in_children() -> None:
    """Have every process that this one forks from now on begin with SIGINT and SIGTERM held.

    A child begins with its parent's handlers. A signal that comes before it has its own would be lost on
    them, and the parent would wait for a child that was never asked to end. The child calls `release` when
    it is ready. Handlers of this process must not raise: an exception would be lost in the fork.
    """
    mine = os.getpid()
    before: set[int] = set()

    def hold() -> None:
        if os.getpid() == mine:
            before.update(signal.pthread_sigmask(signal.SIG_BLOCK, ENDING))

    def restore() -> None:
        if os.getpid() == mine:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            before.clear()

    os.register_at_fork(before=hold, after_in_parent=restore)


def release() -> None:
    """Take SIGINT and SIGTERM from now on, and those that came while they were held."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
