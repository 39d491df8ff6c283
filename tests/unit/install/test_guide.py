"""The table of docs/install/guide.md: what the guide says, what Seawall does, and tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "install" / "guide.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| The guide")
]


def test_each_statement_has_an_answer_and_a_test() -> None:
    assert len(ROWS) > 15
    assert all(len(row) == 3 and all(row) for row in ROWS)
    statements = [row[0] for row in ROWS]
    assert len(set(statements)) == len(statements)


@pytest.mark.parametrize("row", ROWS, ids=[str(number) for number in range(len(ROWS))])
def test_the_tests_named_are_there(row: list[str]) -> None:
    named = re.findall(r"`([^`]+)`", row[2])
    assert named, row[0]
    for name in named:
        path, _, function = name.partition("::")
        file = ROOT / path
        assert file.is_file(), f"{row[0]}: {path} is not there"
        assert file.name.startswith("test_"), path
        text = file.read_text()
        assert re.search(rf"^(?:async )?def {function or 'test_'}", text, re.MULTILINE), name
