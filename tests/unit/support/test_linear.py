"""The linearizability checker against the definition, on every small history hypothesis can think of."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.linear import NEVER, Op, around_fault, linearizable


def by_trying_everything(history: list[Op]) -> bool:
    """The definition, word for word: some order keeps real time and gives each read its value."""
    maybe = [op for op in history if op.end == NEVER]
    sure = [op for op in history if op.end != NEVER]
    for count in range(len(maybe) + 1):
        for happened in itertools.combinations(maybe, count):
            for order in itertools.permutations([*sure, *happened]):
                if any(
                    later.end < earlier.start
                    for index, earlier in enumerate(order)
                    for later in order[index + 1 :]
                ):
                    continue
                value: Any = None
                for operation in order:
                    if operation.write:
                        value = operation.value
                    elif operation.value != value:
                        break
                else:
                    return True
    return False


@st.composite
def any_history(draw: st.DrawFn) -> list[Op]:
    """Up to six operations with distinct times; reads return anything, the end of a write may be unknown."""
    count = draw(st.integers(0, 6))
    times = draw(st.permutations(range(2 * count)))
    history = []
    for index in range(count):
        start, end = sorted(times[2 * index : 2 * index + 2])
        write = draw(st.booleans())
        value = draw(st.sampled_from(["a", "b", "c"] if write else [None, "a", "b", "c"]))
        lost = write and draw(st.integers(0, 4)) == 0
        history.append(Op(start, NEVER if lost else end, write, value))
    return history


@settings(max_examples=250, deadline=None)
@given(history=any_history())
def test_checker_agrees_with_the_definition(history: list[Op]) -> None:
    assert linearizable(history) == by_trying_everything(history)


def test_the_place_of_the_fault_is_found() -> None:
    history = [Op(0, 1, True, "a"), Op(2, 3, False, "a"), Op(4, 5, True, "b")]
    wrong = Op(6, 7, False, "a")
    after = [Op(8, 9, True, "c"), Op(10, 11, False, "c")]
    assert around_fault([*history, wrong, *after], 3) == [history[-1], wrong]
