"""Exported names do nothing in a spreadsheet."""

from __future__ import annotations

import pytest

from seawall.features.scan.export import _cell


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_text(text: str) -> None:
    """Harbor's #23696."""
    assert _cell(text) == "'" + text


@pytest.mark.parametrize("value", ["", "openssl", "1.2-3", 7.5])
def test_names_stay_as_they_are(value: object) -> None:
    assert _cell(value) == value
