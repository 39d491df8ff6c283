"""Statements that are compiled once, when they are met again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

F = TypeVar("F")
# Makes a value one that the driver takes, or one of the driver's what is meant.
Change = Callable[[Any], Any]
# A parameter: its name, SQLAlchemy's object for it, and what makes its value one of the driver's (or None).
Place = tuple[str, Any, Change | None]


def values_of(places: list[Place], row: Mapping[str, Any]) -> list[Any]:
    """The values of a statement's places, for one row. Raises KeyError for what is missing."""
    values = []
    for key, bind, change in places:
        if key in row:
            value = row[key]
        elif bind.required:
            raise KeyError(key)
        else:
            value = bind.effective_value
        values.append(value if change is None else change(value))
    return values


class Forms(Generic[F]):
    """What statements were compiled to, by statement and by the names of its parameters."""

    def __init__(self, compiling: Callable[[Connection, Any, tuple[str, ...]], F | None]) -> None:
        """`compiling`: makes the form of a statement with these parameters; None: SQLAlchemy must do it."""
        self._compile = compiling
        # A statement that is met for the first time has no entry: most of those that are built each time are
        # met once.
        self._known: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], F | None]]
        self._known = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self, connection: Connection, statement: Any, parameters: Any) -> F | None:
        """The form of a statement that was met before, or None: SQLAlchemy is to do it.

        `parameters`: a row's, or a list of them.
        """
        first = parameters[0] if isinstance(parameters, list) and parameters else parameters
        keys = tuple(first) if first else ()
        known = self._known.get(statement)
        if known is None:
            with self._lock:
                self._known[statement] = {}
            return None
        if keys not in known:
            known[keys] = self._compile(connection, statement, keys)
        return known[keys]


__all__ = ["Change", "Forms", "Place", "values_of"]
