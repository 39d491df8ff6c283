"""Waiting for what another process does: long, since a loaded machine is slow and an answer ends the wait."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 120.0


def until(
    check: Callable[[], T | None],
    what: str | Callable[[], object] = "did not happen in time",
    seconds: float = SECONDS,
    *,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """The first true result of `check`; AssertionError with `what` when none comes within `seconds`.

    An exception of a class in `ignoring` counts as no result.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*ignoring):
            if found := check():
                return found
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.1)


async def eventually(
    check: Callable[[], Any | Awaitable[Any]], what: str = "did not happen in time", seconds: float = SECONDS
) -> Any:
    """The first true result of `check`, a function or coroutine function; AssertionError when none comes."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)
