"""A rule with several selectors protects what any of them names."""

from __future__ import annotations

from seawall.features.immutability.rules import ImmutabilityRule, checked


def rule(tags: list[tuple[str, str]], repositories: list[str]) -> ImmutabilityRule:
    """A rule of (decoration, pattern) for tags and patterns for repositories."""
    document = checked(
        {
            "tag_selectors": [{"decoration": kind, "pattern": pattern} for kind, pattern in tags],
            "scope_selectors": {"repository": [{"pattern": pattern} for pattern in repositories]},
        }
    )
    return ImmutabilityRule(1, 1, False, 0, document)


def test_any_of_several_patterns_protects() -> None:
    found = rule([("matches", "v*"), ("matches", "release-*")], ["app", "tool"])
    assert found.protects("app", "v1")
    assert found.protects("tool", "release-1")
    assert not found.protects("app", "latest")
    assert not found.protects("other", "v1")


def test_exclusions_hold_within_what_matches() -> None:
    found = rule([("matches", "v*"), ("excludes", "*-rc")], ["**"])
    assert found.protects("app", "v1")
    assert not found.protects("app", "v1-rc")
    assert not found.protects("app", "x")
