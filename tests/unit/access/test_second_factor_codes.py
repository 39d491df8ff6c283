"""One-time codes by the test vectors of RFC 6238, appendix B, and tokens' checksums."""

from __future__ import annotations

import pytest

from seawall.access.second_factor import code_at
from seawall.access.token_text import LOGIN, PERSONAL, is_token, new_token


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert code_at(b"12345678901234567890", seconds // 30, 8) == code


def test_a_token_is_known_by_prefix_and_checksum() -> None:
    token = new_token(PERSONAL)
    assert is_token(token, PERSONAL, LOGIN)
    assert not is_token(token, LOGIN)
    assert not is_token(token + "\n", PERSONAL)
    for place in (4, 20, len(token) - 1):
        other = "x" if token[place] != "x" else "y"
        assert not is_token(token[:place] + other + token[place + 1 :], PERSONAL)
