"""Headers by name."""

from __future__ import annotations

from seawall.kernel.headers import by_name


def test_of_two_the_first_counts() -> None:
    scope = {"headers": [(b"host", b"one"), (b"accept", b"*/*"), (b"host", b"two")]}
    assert by_name(scope) == {b"host": b"one", b"accept": b"*/*"}


def test_other_headers_are_read_again() -> None:
    scope = {"headers": [(b"host", b"one")]}
    assert by_name(scope)[b"host"] == b"one"
    copy = {**scope, "headers": [(b"host", b"two")]}
    assert by_name(copy)[b"host"] == b"two"
    assert by_name(scope)[b"host"] == b"one"
