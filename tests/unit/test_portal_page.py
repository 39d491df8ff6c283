"""The comparison in docs/portal.md: every row is yes, and names tests that exist."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

PORTAL = ROOT / "tests/system/portal"


def rows() -> list[list[str]]:
    text = (ROOT / "docs/portal.md").read_text().partition("## Compared with Harbor's portal")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_row_is_yes_and_names_its_tests() -> None:
    found = rows()
    assert len(found) > 40
    for name, _, seawall, tests in found:
        assert seawall == "yes" or seawall.startswith("ten:"), name
        named = re.findall(r"`(test_\w+)` ((?:\w+(?:, )?)+)", tests)
        assert named, name
        for file, functions in named:
            source = (PORTAL / f"{file}.py").read_text()
            for function in functions.split(", "):
                assert f"def test_{function}(" in source, f"{name}: {file} has no test_{function}"
