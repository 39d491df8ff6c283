"""Whether a version is affected: OSV's evaluation over `univers` version classes.

Source: the OSV schema, section "affected[].ranges[] field" and its evaluation algorithm.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _classes() -> dict[str, Any]:
    from univers import versions as univers

    return {
        "deb": univers.DebianVersion,
        "rpm": univers.RpmVersion,
        "apk": univers.AlpineLinuxVersion,
        "pypi": univers.PypiVersion,
        "npm": univers.SemverVersion,
        "cargo": univers.SemverVersion,
        "golang": univers.GolangVersion,
        "maven": univers.MavenVersion,
        "gem": univers.RubygemsVersion,
    }


@functools.lru_cache(maxsize=65536)
def parse(kind: str, text: str) -> Any:
    """The comparable version, or None when `text` is not valid for the kind."""
    # Outside of what is caught: without univers nothing would ever be affected.
    classes = _classes()
    try:
        return classes[kind](text)
    except Exception:
        # Each class has its own errors for text it cannot take.
        return None


def compare(kind: str, left: str, right: str) -> int | None:
    """-1, 0 or 1; None when one of them is not a version of the kind."""
    first, second = parse(kind, left), parse(kind, right)
    if first is None or second is None:
        return None
    try:
        if first == second:
            return 0
        return -1 if first < second else 1
    except Exception:
        return None


def affected(
    kind: str, version: str, ranges: list[dict[str, Any]], versions: list[str]
) -> tuple[bool, str | None]:
    """(affected, version that fixes it or None) for OSV `ranges` and `versions`."""
    listed = version in versions or any(compare(kind, version, item) == 0 for item in _few(versions))
    hit = listed
    fixes: list[str] = []
    for item in ranges:
        if item.get("type") == "GIT":
            continue
        inside, fixed = _in_range(kind, version, item.get("events") or [])
        if inside:
            hit = True
        if inside or listed:
            fixes.extend(fixed)
    if not hit:
        return False, None
    best: str | None = None
    for candidate in fixes:
        if best is None or compare(kind, candidate, best) == -1:
            best = candidate
    return True, best


def _few(versions: list[str]) -> list[str]:
    # Long lists are enumerations as the registry spells versions; only short ones need comparing.
    return versions if len(versions) <= 50 else []


def _in_range(kind: str, version: str, events: list[dict[str, str]]) -> tuple[bool, list[str]]:
    """(affected, fixes above the version) for one range's events."""
    ordered: list[tuple[str, str]] = [(name, value) for event in events for name, value in event.items()]
    limits = [value for name, value in ordered if name == "limit" and value != "*"]
    if limits and not any(compare(kind, version, value) == -1 for value in limits):
        return False, []
    # Comparing needs every event in order; an event that is not a version makes the range unusable.
    for name, value in ordered:
        if name != "limit" and value != "0" and compare(kind, value, value) is None:
            return False, []
    key = functools.cmp_to_key(functools.partial(_order, kind))
    ordered = sorted((e for e in ordered if e[0] != "limit"), key=key)
    hit = False
    fixes = []
    for name, value in ordered:
        if name == "introduced":
            if value == "0" or compare(kind, version, value) in (0, 1):
                hit = True
        elif name == "fixed":
            result = compare(kind, version, value)
            if result in (0, 1):
                hit = False
            elif result == -1:
                fixes.append(value)
        elif name == "last_affected" and compare(kind, version, value) == 1:
            hit = False
    return hit, fixes


# At the same version: what ends a range goes before what starts the next.
_EVENT_ORDER = {"fixed": 0, "introduced": 1, "last_affected": 2}


def _order(kind: str, left: tuple[str, str], right: tuple[str, str]) -> int:
    first, second = left[1], right[1]
    if first != second:
        if "0" in (first, second):
            return -1 if first == "0" else 1
        result = compare(kind, first, second)
        if result:
            return result
    return _EVENT_ORDER.get(left[0], 3) - _EVENT_ORDER.get(right[0], 3)
