"""Histories of operations on one register, and whether they are linearizable.

A history is linearizable when every operation can be given one moment between its call and its return so
that the register, taken in the order of those moments, gives each read the value it returned (Herlihy and
Wing, 1990). The search is Wing and Gong's (1993) with Lowe's memory of states tried before (2017): walk the
events in time order, linearize a call that fits, go back when an operation would return without having been
linearized.

An operation whose outcome the client never learned (the instance died) may take effect at any time after
its call or never: it returns at the end of time, where it disturbs nobody.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Value = str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """`kind` is read or write; `value` what was read or written; times in seconds on one clock."""

    kind: str
    value: Value
    called: float
    returned: float = math.inf
    who: str = ""


class _Event:
    """A call (`match` is its return) or a return (`match` is None) in a doubly linked list."""

    __slots__ = ("following", "index", "match", "previous")

    def __init__(self, index: int) -> None:
        self.index = index
        self.match: _Event | None = None
        self.previous: _Event | None = None
        self.following: _Event | None = None


def linearizable(history: Iterable[Operation], initial: Value = None) -> bool:
    """Whether the operations of one register, which held `initial`, are linearizable."""
    operations = list(history)
    head = _events(operations)
    done = 0  # bit set of linearized operations
    value = initial
    tried: set[tuple[int, Value]] = set()
    stack: list[tuple[_Event, Value]] = []
    event = head.following
    while head.following is not None:
        assert event is not None
        if event.match is not None:
            operation = operations[event.index]
            fits = operation.kind == "write" or operation.value == value
            after = operation.value if operation.kind == "write" else value
            state = (done | 1 << event.index, after)
            if fits and state not in tried:
                tried.add(state)
                stack.append((event, value))
                done, value = state
                _lift(event)
                event = head.following
            else:
                event = event.following
        else:
            # An operation returns here that could not be linearized before: some earlier choice was wrong.
            if not stack:
                return False
            event, value = stack.pop()
            done &= ~(1 << event.index)
            _unlift(event)
            event = event.following
    return True


def _events(operations: list[Operation]) -> _Event:
    timed: list[tuple[float, int, int, _Event]] = []
    for index, operation in enumerate(operations):
        call, end = _Event(index), _Event(index)
        call.match = end
        # At the same time a call comes first: the two operations then overlap, which asks for less.
        timed += [(operation.called, 0, index, call), (operation.returned, 1, index, end)]
    timed.sort(key=lambda item: item[:3])
    head = previous = _Event(-1)
    for *_, event in timed:
        previous.following, event.previous = event, previous
        previous = event
    return head


def _lift(call: _Event) -> None:
    assert call.match is not None
    for event in (call, call.match):
        assert event.previous is not None
        event.previous.following = event.following
        if event.following is not None:
            event.following.previous = event.previous


def _unlift(call: _Event) -> None:
    assert call.match is not None
    for event in (call.match, call):
        assert event.previous is not None
        event.previous.following = event
        if event.following is not None:
            event.following.previous = event


class Recorder:
    """Collects operations of many threads, by register."""

    def __init__(self) -> None:
        self.registers: dict[str, list[Operation]] = {}
        self._lock = threading.Lock()

    def _add(self, register: str, operation: Operation) -> None:
        with self._lock:
            self.registers.setdefault(register, []).append(operation)

    def write(self, register: str, value: Value, act: Callable[[], bool | None], who: str = "") -> None:
        """Record a write: `act` returns True when it was acknowledged, False when refused without effect,
        None when nobody knows."""
        called = time.monotonic()
        outcome = act()
        returned = time.monotonic() if outcome else math.inf
        if outcome is not False:
            self._add(register, Operation("write", value, called, returned, who))

    def read(self, register: str, act: Callable[[], tuple[bool, Value]], who: str = "") -> None:
        """Record a read: `act` returns whether there was an answer, and the value."""
        called = time.monotonic()
        answered, value = act()
        if answered:
            self._add(register, Operation("read", value, called, time.monotonic(), who))
