"""Globs as Harbor's rules use them ("doublestar").

`*` stands for any characters but `/`, `?` for one of them, `**` as a whole path component for any number of
components, `[a-z]` and `[^a-z]` for a class, `{one,two}` for alternatives, `\\` takes the next character
literally. Source: the pattern section of the doublestar library's README (version 1).

Patterns come from users, so matching is by a state set (time grows with pattern times text), not by
backtracking.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from seawall.kernel.errors import InvalidError

PATTERN_LIMIT = 1024
_ALTERNATIVES = 256

_Predicate = Callable[[str], bool]
# A step of an automaton: characters it accepts, whether it may accept none, and whether it may repeat.
_Step = tuple[_Predicate, bool, bool]


def check(pattern: str) -> str:
    """Return `pattern` if it is one. Raises InvalidError."""
    _compiled(pattern)
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Whether `text` as a whole matches. Raises InvalidError for a malformed pattern."""
    return any(_run(components, text.split("/")) for components in _compiled(pattern))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[tuple[tuple[_Step, ...] | None, ...], ...]:
    """For each alternative its components: steps, or None for `**`."""
    if len(pattern) > PATTERN_LIMIT:
        raise InvalidError(f"a pattern has at most {PATTERN_LIMIT} characters")
    result = []
    for alternative in _expand(pattern):
        parts = alternative.split("/")
        result.append(tuple(None if part == "**" else _steps(part) for part in parts))
    return tuple(result)


def _expand(pattern: str) -> list[str]:
    """The pattern with its braces written out."""
    start = depth = 0
    choices: list[str] = []
    head = ""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if character == "[":
            position = _class_end(pattern, position) + 1
            continue
        if character == "{":
            if depth == 0:
                head, start = pattern[:position], position + 1
            depth += 1
        elif character == "}":
            if depth == 0:
                raise InvalidError(f"pattern {pattern[:100]!r}: }} without {{")
            depth -= 1
            if depth == 0:
                choices.append(pattern[start:position])
                tails = _expand(pattern[position + 1 :])
                heads = [item for choice in choices for item in _expand(choice)]
                if len(heads) * len(tails) > _ALTERNATIVES:
                    raise InvalidError(f"a pattern has at most {_ALTERNATIVES} alternatives")
                return [head + middle + tail for middle in heads for tail in tails]
        elif character == "," and depth == 1:
            choices.append(pattern[start:position])
            start = position + 1
        position += 1
    if depth:
        raise InvalidError(f"pattern {pattern[:100]!r}: {{ without }}")
    return [pattern]


def _class_end(pattern: str, start: int) -> int:
    position = start + 1
    if pattern[position : position + 1] in ("^", "!"):
        position += 1
    first = position
    while position < len(pattern):
        if pattern[position] == "\\":
            position += 1
        elif pattern[position] == "]" and position > first:
            return position
        position += 1
    raise InvalidError(f"pattern {pattern[:100]!r}: [ without ]")


def _steps(part: str) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    position = 0
    while position < len(part):
        character = part[position]
        if character == "*":
            if not steps or not steps[-1][2]:
                steps.append((_anything, True, True))
        elif character == "?":
            steps.append((_anything, False, False))
        elif character == "[":
            end = _class_end(part, position)
            steps.append((_class(part[position + 1 : end]), False, False))
            position = end
        else:
            if character == "\\":
                position += 1
                if position == len(part):
                    raise InvalidError("a pattern cannot end with \\")
                character = part[position]
            steps.append((character.__eq__, False, False))
        position += 1
    return tuple(steps)


def _anything(_character: str) -> bool:
    return True


def _class(body: str) -> _Predicate:
    negated = body[:1] in ("^", "!")
    items: list[tuple[str, str]] = []
    characters: list[tuple[str, bool]] = []  # (character, was escaped)
    position = 1 if negated else 0
    while position < len(body):
        escaped = body[position] == "\\" and position + 1 < len(body)
        position += escaped
        characters.append((body[position], escaped))
        position += 1
    position = 0
    while position < len(characters):
        low = characters[position][0]
        if position + 2 < len(characters) and characters[position + 1] == ("-", False):
            high = characters[position + 2][0]
            if high < low:
                raise InvalidError(f"pattern: [{body[:50]}] has a range that runs backwards")
            items.append((low, high))
            position += 3
        else:
            items.append((low, low))
            position += 1

    def accepts(character: str) -> bool:
        return any(low <= character <= high for low, high in items) != negated

    return accepts


def _run(components: tuple[tuple[_Step, ...] | None, ...], parts: list[str]) -> bool:
    """Match path components; `**` takes any number of them."""
    states = {0}
    for part in parts:
        states = _skip_stars(components, states)
        following: set[int] = set()
        for state in states:
            if state == len(components):
                continue
            component = components[state]
            if component is None:
                following |= {state, state + 1}
            elif _component(component, part):
                following.add(state + 1)
        states = following
        if not states:
            return False
    return len(components) in states


def _skip_stars(components: tuple[tuple[_Step, ...] | None, ...], states: set[int]) -> set[int]:
    result = set(states)
    for state in states:
        while state < len(components) - 1 and components[state] is None:
            state += 1
            result.add(state)
    return result


def _component(steps: tuple[_Step, ...], text: str) -> bool:
    states = _closure(steps, {0})
    for character in text:
        following: set[int] = set()
        for state in states:
            if state < len(steps) and steps[state][0](character):
                following.add(state if steps[state][2] else state + 1)
        states = _closure(steps, following)
        if not states:
            return False
    return len(steps) in states


def _closure(steps: tuple[_Step, ...], states: set[int]) -> set[int]:
    result = set(states)
    for state in states:
        while state < len(steps) and steps[state][1]:
            state += 1
            result.add(state)
    return result
