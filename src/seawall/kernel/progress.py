"""How far long work has come, for the command that started it.

The work calls `step` without knowing whether anybody looks: the listener is of the context, and tasks that
are started in the context inherit it. Without a listener a call costs a look-up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

# What is done, how many of it, and of how many (None: not known).
Listener = Callable[[str, int, int | None], None]

_listener: ContextVar[Listener | None] = ContextVar("progress", default=None)


def wanted() -> bool:
    """Whether somebody looks, so that a total is worth a query."""
    return _listener.get() is not None


def step(what: str, done: int, total: int | None = None) -> None:
    """`done` of `total` things have been worked on."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of each step within."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
