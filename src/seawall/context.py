"""Who is acting in the current request or job.

The transport sets `actor` once a caller is known; services read it when they record what happened. Read it
on the event loop, before work is handed to a database thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller: `name` as the audit log shows it ("" for anonymous), the client's address, its User-Agent."""

    name: str = ""
    address: str = ""
    agent: str = ""


NOBODY = Actor()
SYSTEM = Actor("seawall")
actor: ContextVar[Actor] = ContextVar("actor", default=NOBODY)
