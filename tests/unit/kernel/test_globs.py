"""Globs of rules."""

from __future__ import annotations

import contextlib
import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.kernel.errors import InvalidError
from seawall.kernel.globs import check, matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("**", "latest", True),
        ("**", "a/b/c", True),
        ("*", "a/b", False),
        ("v1.*", "v1.2", True),
        ("v1.*", "v2.1", False),
        ("{latest,4.*}", "4.10", True),
        ("{latest,4.*}", "5", False),
        ("{redis}", "redis", True),
        ("{a,b{c,d}}x", "bdx", True),
        ("har*", "harbor", True),
        ("har*", "harbor/core", False),
        ("har*/**", "harbor/core/x", True),
        ("a/**", "a/b", True),
        ("a/**", "a", False),
        ("**/a", "a", True),
        ("**/a", "x/y/a", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a**b", "axxb", True),
        ("a**b", "ax/xb", False),
        ("v?", "v1", True),
        ("v?", "v10", False),
        ("v[0-9]", "v5", True),
        ("v[^0-9]", "v5", False),
        ("v[!0-9]", "vx", True),
        ("v[]]", "v]", True),
        ("v[a\\-c]", "vb", False),
        ("\\*", "*", True),
        ("\\*", "x", False),
        ("", "", True),
        ("{,a}", "", True),
    ],
)
def test_table(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize("pattern", ["{a", "a}", "[a", "a\\", "[z-a]", "x" * 1025, "{a,b}" * 20])
def test_malformed(pattern: str) -> None:
    with pytest.raises(InvalidError):
        check(pattern)


@given(st.text("ab*?.", max_size=12), st.text("ab.", max_size=12))
def test_single_component_is_fnmatch(pattern: str, text: str) -> None:
    # `**` alone is another thing only where there are slashes.
    assert matches(pattern, text) == bool(re.fullmatch(fnmatch.translate(pattern), text))


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_matched_or_refused(pattern: str, text: str) -> None:
    with contextlib.suppress(InvalidError):
        assert matches(pattern, text) in (True, False)


def test_hostile_pattern_ends() -> None:
    # A backtracking matcher would not come back from this one.
    assert not matches("*a" * 100 + "b", "a" * 128)
