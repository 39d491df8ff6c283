"""Who is acting in the current request or job.

The transport sets `actor` once a caller is known; services read it when they record what happened. Read it
on the event loop, before work is handed to a database thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller: `name` as the audit log shows it ("" for anonymous), the client's address, its User-Agent.

    `passed` and `pushed_at` are of a change that another registry replicates (see `replication.origin`).
    """

    name: str = ""
    address: str = ""
    agent: str = ""
    passed: tuple[str, ...] = ()
    pushed_at: float | None = None


NOBODY = Actor()
SYSTEM = Actor("seawall")
# Who brings content from a peer.
REPLICATOR = Actor("seawall", agent="peers")
actor: ContextVar[Actor] = ContextVar("actor", default=NOBODY)
# What is to be done in every write transaction of the request at hand, after its own statements.
companion: ContextVar[Callable[[Connection], None] | None] = ContextVar("companion", default=None)


def accompanied(fn: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """`fn`, followed in its transaction by the request's companion; call where the request runs."""
    also = companion.get()
    if also is None:
        return fn

    def both(connection: Connection) -> T:
        result = fn(connection)
        also(connection)
        return result

    return both
