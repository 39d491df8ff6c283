"""Harbor's patterns ("doublestar"): `*` within a path component, `**` across, `?`, `[a-z]`, `{a,b}`."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from seawall.kernel.errors import InvalidError

_MAX_ALTERNATIVES = 1000


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of `text` matches; an empty pattern matches everything.

    Raises InvalidError for a malformed pattern.
    """
    return not pattern or compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """`pattern` as a regular expression. Raises InvalidError."""
    if len(pattern) > 1024:
        raise InvalidError("pattern is longer than 1024 characters")
    return re.compile("|".join(_translate(item) for item in expand(pattern)), re.DOTALL)


def expand(pattern: str) -> list[str]:
    """The patterns that `{a,b}` stand for, nested ones too. Raises InvalidError."""
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        item = waiting.pop()
        start = item.find("{")
        if start < 0:
            if "}" in item:
                raise InvalidError(f"pattern {pattern!r}: '}}' without '{{'")
            done.append(item)
            continue
        end, commas = _closing(item, start, pattern)
        cuts = [start, *commas, end]
        for left, right in itertools.pairwise(cuts):
            waiting.append(item[:start] + item[left + 1 : right] + item[end + 1 :])
        if len(waiting) + len(done) > _MAX_ALTERNATIVES:
            raise InvalidError(f"pattern {pattern!r} has too many alternatives")
    return done


def _closing(item: str, start: int, pattern: str) -> tuple[int, list[int]]:
    depth = 0
    commas: list[int] = []
    for index in range(start, len(item)):
        if item[index] == "{":
            depth += 1
        elif item[index] == "}":
            depth -= 1
            if depth == 0:
                return index, commas
        elif item[index] == "," and depth == 1:
            commas.append(index)
    raise InvalidError(f"pattern {pattern!r}: '{{' without '}}'")


def literals(pattern: str) -> list[str] | None:
    """The texts a pattern without wildcards can match; None when it has wildcards or is empty."""
    if not pattern or any(character in pattern for character in "*?["):
        return None
    return expand(pattern)


def _translate(item: str) -> str:
    result = ""
    index = 0
    while index < len(item):
        character = item[index]
        if item.startswith("**", index):
            # "a/**/b" also matches "a/b".
            if item.startswith("**/", index) and (index == 0 or item[index - 1] == "/"):
                result += "(?:.*/)?"
                index += 3
                continue
            # As elsewhere "**" is more than "*": it goes over slashes.
            result += ".*"
            while index < len(item) and item[index] == "*":
                index += 1
            continue
        if character == "*":
            result += "[^/]*"
        elif character == "?":
            result += "[^/]"
        elif character == "[":
            end = item.find("]", index + 2)
            if end < 0:
                raise InvalidError(f"pattern {item!r}: '[' without ']'")
            body = item[index + 1 : end]
            negated = body[0] in "!^"
            body = re.sub(r"([\\\[\]^&~|])", r"\\\1", body[1:] if negated else body)
            result += f"(?!/)[{'^' if negated else ''}{body}]"
            index = end
        else:
            result += re.escape(character)
        index += 1
    try:
        re.compile(result)
    except re.error:
        raise InvalidError(f"pattern {item!r} is malformed") from None
    return result
