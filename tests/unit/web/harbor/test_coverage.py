"""No operation of Harbor's is silently absent, and the committed pages say what the code has."""

from __future__ import annotations

from tests.support.harbor import coverage
from tests.support.processes import ROOT

HINT = "run `python -m tests.support.harbor.coverage` and commit what it wrote"


def test_every_operation_is_in_or_left_out_with_a_reason() -> None:
    have = {coverage.shape(item) for item in coverage.ours()}
    left_out = coverage.not_offered()
    for operation in coverage.harbor():
        inside = coverage.shape(operation) in have
        assert inside != (operation in left_out), f"{operation}: in, or in not_offered.txt, and not both"
    assert set(left_out) <= set(coverage.harbor())


def test_every_parameter_is_taken() -> None:
    assert len(coverage.harbor_parameters()) > 200
    assert coverage.not_taken() == []


def test_pages_are_up_to_date() -> None:
    assert coverage.PAGE.read_text() == coverage.page(), HINT
    assert coverage.TABLE.read_text() == coverage.access_table(), HINT


def test_every_case_of_harbors_has_a_test_here_that_passed() -> None:
    found = coverage.cases()
    # 56 files of Harbor 2.15, and one that is newer.
    assert len(found) == 57
    for test in {test for tests in found.values() for test in tests}:
        path, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(), test
        assert coverage.results().get(test) == "passed", test
    assert coverage.differences().keys() <= found.keys()
