"""Challenges of `WWW-Authenticate` (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A parameter, its value quoted or not; or a scheme.
_PART = re.compile(
    rf'[\s,]*(?:({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|({_WORD})(?=[\s,]|$))', re.ASCII
)
_LONGEST = 16384


def challenges(lines: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Scheme and parameters (both names in lower case) of each challenge, in the order given.

    A line may have several, and values without quotes. What comes after something malformed is left out.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for line in lines:
        at = 0
        text = line[:_LONGEST]
        while (match := _PART.match(text, at)) is not None:
            at = match.end()
            name, quoted, plain, scheme = match.groups()
            if scheme is not None:
                found.append((scheme.lower(), {}))
            elif found:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                found[-1][1].setdefault(name.lower(), value)
    return found
