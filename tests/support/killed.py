"""Work that is killed at each of its steps on files, as kill -9 or a power cut would end it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STEPS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.chmod", "os.chown"}


def killed_at(step: int, root: Path, work: Callable[[], Any]) -> bool:
    """Do `work` in a process that dies before its `step`-th step below `root`; whether it died there.

    A file is cut to half before the step that makes it safe (fsync): what was not safe may be lost.
    """
    child = os.fork()
    if child == 0:
        _die_at(step, str(root.resolve()))
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the work failed by itself"
    return False


def _die_at(step: int, root: str) -> None:
    left, itself = step, os.getpid()

    def count() -> None:
        nonlocal left
        # Processes that it forks are not it.
        left -= os.getpid() == itself
        if left == 0:
            os.kill(os.getpid(), 9)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS and any(_is_below(item, root) for item in arguments):
            count()

    fsync = os.fsync

    def cut(fd: int) -> None:
        nonlocal left
        place = os.readlink(f"/proc/self/fd/{fd}")
        if left == 1 and os.getpid() == itself and place.startswith(root) and os.path.isfile(place):
            os.truncate(place, os.path.getsize(place) // 2)
        count()
        fsync(fd)

    os.fsync = cut  # type: ignore[assignment]
    sys.addaudithook(hook)


def _is_below(item: object, root: str) -> bool:
    return isinstance(item, (str, bytes, os.PathLike)) and os.fsdecode(item).startswith(root)


def kill_everywhere(
    root: Path, begin: Callable[[], Any], work: Callable[[], Any], look: Callable[[], Any]
) -> int:
    """Kill `work` at every step, each time from `begin`; `look` at what is left. Returns how many steps."""
    step = 1
    while True:
        begin()
        died = killed_at(step, root, work)
        look()
        if not died:
            return step - 1
        step += 1
