"""Hints to what a wrong word may have meant."""

from __future__ import annotations

from seawall.kernel.spelling import did_you_mean


def test_the_nearest_word_is_named() -> None:
    assert did_you_mean("hostnam", {"hostname": 1, "http": 2}) == "; did you mean hostname?"
    assert did_you_mean("gx", ["gc", "ha"]) == "; did you mean gc?"
    assert did_you_mean("zzz", ["hostname"]) == ""
    assert did_you_mean("", []) == ""
