"""What a write carries along: more to be done in its transaction, given by who asks for the change.

A service method that changes something takes it as `also` and hands it to `Database.write`. So a request can
see to it that no part of its change commits without a trace in the audit log, whatever service writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Also = Callable[[Connection], None]


def nothing(connection: Connection) -> None:
    """The `also` of a write that carries nothing along."""


def together(fn: Callable[[Connection], T], also: Also) -> Callable[[Connection], T]:
    """`fn`, and `also` after it on the same connection."""
    if also is nothing:
        return fn

    def both(connection: Connection) -> T:
        result = fn(connection)
        also(connection)
        return result

    return both
