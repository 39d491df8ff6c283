"""What a wrong word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` with the known name that is most like `word`; empty when none is like it."""
    known = list(known)
    for name in known:
        if name.lower() == word.lower() and name != word:
            return f"; did you mean {name}?"
    # Of a word of two letters one that is wrong is half of it.
    found = difflib.get_close_matches(word, known, 1, 0.5 if len(word) < 4 else 0.6)
    return f"; did you mean {found[0]}?" if found else ""
