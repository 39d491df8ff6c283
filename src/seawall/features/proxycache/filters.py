"""Which repositories of its upstream a proxy-cache project has."""

from __future__ import annotations

import functools
from typing import Any

import re2

from seawall.kernel import globs
from seawall.kernel.errors import InvalidError


def wants(pattern: str, kind: str, repository: str) -> bool:
    """Whether a project's filter lets a repository (without the project's name) through; one that is no
    pattern lets none through.
    """
    if not pattern:
        return True
    if kind == "regex":
        expression = _expression(pattern)
        return expression is not None and expression.fullmatch(repository) is not None
    try:
        return globs.matches(pattern, repository)
    except InvalidError:
        return False


@functools.lru_cache(maxsize=256)
def _expression(pattern: str) -> Any:
    # RE2, as in Harbor: a pattern comes from a project's administrator, and its time must be bounded.
    try:
        return re2.compile(pattern)
    except re2.error:
        return None
