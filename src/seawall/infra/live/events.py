"""What a change is called for those who look on, and who finds changes.

An event says what to ask for again, and nothing of what is there now: who asks learns only what the API
tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed: its kind, and where.

    `project_id` None: something of the whole system, or (`user_id`) of one user. `repository` is a full name;
    `execution` the id of an execution of a policy.
    """

    kind: str
    project_id: int | None = None
    repository: str = ""
    execution: int | None = None
    user_id: int | None = None


# The events of jobs, by their ids; it is given the arguments of each. A job whose subject is gone has none.
Shows = Callable[[Connection, Mapping[str, Mapping[str, Any]]], Mapping[str, Event]]


def system(kind: str) -> Shows:
    """For jobs of the whole system: an event of that kind."""
    return lambda _connection, jobs: dict.fromkeys(jobs, Event(kind))


class Source(Protocol):
    """Finds changes. It keeps nothing itself: what it has seen goes round as `state`."""

    def look(self, connection: Connection, state: Any) -> tuple[list[Event] | None, Any]:
        """What changed since `state` was returned (None: nothing yet), and the new state.

        No list: more than can be reported; everything may have changed.
        """
