"""Selectors of rules on tags and repositories, as Harbor's policies write them.

{"kind": "doublestar", "decoration": "matches", "pattern": "v*", "extras": "{\"untagged\":true}"}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from seawall.kernel import globs
from seawall.kernel.errors import InvalidError

TAG_DECORATIONS = ("matches", "excludes")
REPOSITORY_DECORATIONS = ("repoMatches", "repoExcludes")
_MATCHING = ("matches", "repoMatches")


def checked(raw: dict[str, Any], decorations: tuple[str, ...]) -> dict[str, str]:
    """The selector with nothing but its four fields. Raises InvalidError."""
    kind = raw.get("kind") or "doublestar"
    if kind != "doublestar":
        raise InvalidError(f"selector kind {str(kind)[:50]!r} is not known; use doublestar")
    decoration = raw.get("decoration") or decorations[0]
    if decoration not in decorations:
        raise InvalidError(f"selector decoration must be one of {', '.join(decorations)}")
    pattern = raw.get("pattern") or ""
    extras = raw.get("extras") or ""
    if not isinstance(pattern, str) or not isinstance(extras, str):
        raise InvalidError("selector pattern and extras must be text")
    globs.check(pattern)
    if extras and not isinstance(_object(extras), dict):
        # Harbor ignores extras that it cannot read, and its own clients send some.
        extras = ""
    return {"kind": kind, "decoration": decoration, "pattern": pattern, "extras": extras}


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def selects_repository(selector: dict[str, str], name: str) -> bool:
    """Whether the repository (`name` without its project) is selected."""
    matched = _match(selector["pattern"], name)
    return matched != (selector["decoration"] == "repoExcludes")


def selects_tag(selector: dict[str, str], tag: str) -> bool:
    """Whether a single tag is selected."""
    return _match(selector["pattern"], tag) != (selector["decoration"] == "excludes")


def together(answers: Iterable[tuple[str, bool]]) -> bool:
    """Whether selectors of one rule select together, from (decoration, what each says alone).

    One of those that match is enough; what any of the others excludes is not selected. Of patterns that all
    had to match, two different ones would select nothing.
    """
    found = list(answers)
    matching = [says for decoration, says in found if decoration in _MATCHING]
    return (any(matching) or not matching) and all(
        says for decoration, says in found if decoration not in _MATCHING
    )


def selects_artifact(selector: dict[str, str], tags: Iterable[str]) -> bool:
    """Whether an artifact is selected: by any of its tags, an untagged one by the selector's extras.

    Without extras, `matches` takes untagged artifacts and `excludes` does too, as in Harbor.
    """
    names = list(tags)
    if names:
        return any(selects_tag(selector, tag) for tag in names)
    excludes = selector["decoration"] == "excludes"
    untagged = not excludes
    if selector["extras"]:
        untagged = bool(json.loads(selector["extras"]).get("untagged", False))
    return not untagged if excludes else untagged


def _match(pattern: str, text: str) -> bool:
    return not pattern or globs.matches(pattern, text)
