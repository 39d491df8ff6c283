"""How registries ask for a login."""

from __future__ import annotations

import pytest

from seawall.features.replication.challenges import challenges

REALM = "https://auth.example/token"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            [f'Bearer realm="{REALM}",service="registry",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": REALM, "service": "registry", "scope": "repository:a/b:pull,push"})],
        ),
        # What a proxy makes of two headers, in either order.
        (
            [f'Basic realm="x y", Bearer realm="{REALM}", service="s"'],
            [("basic", {"realm": "x y"}), ("bearer", {"realm": REALM, "service": "s"})],
        ),
        ([f'bearer realm="{REALM}"', "BASIC"], [("bearer", {"realm": REALM}), ("basic", {})]),
        # Values that need no quotes have none, names have no case, and a quote may be in quotes.
        (
            [f'Bearer Realm = {REALM} , service=a.b-c,error="say \\"no\\""'],
            [("bearer", {"realm": REALM, "service": "a.b-c", "error": 'say "no"'})],
        ),
        (["Negotiate", ', ,Digest nonce="n"'], [("negotiate", {}), ("digest", {"nonce": "n"})]),
        (['realm="nobody\'s"', "", 'Bearer realm="open'], [("bearer", {"realm": ""})]),
        (["Basic " + "," * 100_000 + "x"], [("basic", {})]),
    ],
)
def test_challenges(lines: list[str], found: list[tuple[str, dict[str, str]]]) -> None:
    assert challenges(lines) == found
