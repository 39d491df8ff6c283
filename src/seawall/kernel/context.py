"""Who is acting in the current request or job.

The transport sets `actor` once a caller is known; services read it when they record what happened. Read it
on the event loop, before work is handed to a database thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


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
