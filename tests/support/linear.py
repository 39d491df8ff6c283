"""Is a recorded history of a register linearizable?

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with the memory of visited
configurations by Lowe, "Testing for Linearizability" (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: when it was called and when it returned (`NEVER`: unknown whether it happened).

    `write` True: the value written. Else: the value read.
    """

    start: float
    end: float
    write: bool
    value: Any


class _Node:
    __slots__ = ("index", "match", "next", "op", "previous")

    def __init__(self, op: Op | None, index: int) -> None:
        self.op = op
        self.index = index
        self.match: _Node | None = None
        self.previous: _Node | None = None
        self.next: _Node | None = None


def linearizable(history: list[Op], initial: Any = None) -> bool:
    """Whether one order of the operations explains every read and respects real time."""
    events: list[tuple[float, int, _Node]] = []
    for index, op in enumerate(history):
        call, back = _Node(op, index), _Node(None, index)
        call.match = back
        # Of a call and a return at the same instant the call is taken as the earlier: that allows more.
        events += [(op.start, 0, call), (op.end, 1, back)]
    events.sort(key=lambda event: event[:2])
    head = _Node(None, -1)
    last = head
    for _, _, event in events:
        last.next, event.previous = event, last
        last = event
    state, done = initial, 0
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[_Node, Any]] = []
    node: _Node | None = head.next
    while head.next is not None:
        assert node is not None
        if node.match is not None:
            assert node.op is not None
            if node.op.write or node.op.value == state:
                after = node.op.value if node.op.write else state
                mark = done | 1 << node.index
                if (mark, after) not in seen:
                    seen.add((mark, after))
                    stack.append((node, state))
                    state, done = after, mark
                    _lift(node)
                    node = head.next
                    continue
            node = node.next
        else:
            if not stack:
                return False
            node, state = stack.pop()
            done &= ~(1 << node.index)
            _unlift(node)
            node = node.next
    return True


def around_fault(history: list[Op], seconds: float = 20.0) -> list[Op]:
    """Of a history that is not linearizable: what was under way in the `seconds` before it first was not.

    Cut after the earliest return that no order explains; a read that had not returned by then is left out,
    and of a write that had not it is not known whether it happened.
    """
    ends = sorted(op.end for op in history if op.end != NEVER)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if linearizable(_until(history, ends[middle])) else (low, middle)
    if not ends:
        return history
    last = ends[low]
    return [op for op in _until(history, last) if op.end >= last - seconds]


def _until(history: list[Op], moment: float) -> list[Op]:
    """The history as it was known at `moment`."""
    return [
        op if op.end <= moment else Op(op.start, NEVER, True, op.value)
        for op in history
        if op.end <= moment or (op.write and op.start <= moment)
    ]


def _lift(call: _Node) -> None:
    for node in (call, call.match):
        assert node is not None
        assert node.previous is not None
        node.previous.next = node.next
        if node.next is not None:
            node.next.previous = node.previous


def _unlift(call: _Node) -> None:
    for node in (call.match, call):
        assert node is not None
        assert node.previous is not None
        node.previous.next = node
        if node.next is not None:
            node.next.previous = node
