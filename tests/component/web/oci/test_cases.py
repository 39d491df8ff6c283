"""The table of official cases against the tests that pytest really collects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.oci.cases import table
from tests.support.processes import ROOT

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def collected() -> set[str]:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", "--no-header", str(HERE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = run.stdout.splitlines()
    prefix = HERE.relative_to(ROOT).as_posix() + "/"
    return {without_database(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)}


def without_database(test: str) -> str:
    """The table names a test once; it runs on each metadata database."""
    for database in ("sqlite", "postgresql"):
        test = test.replace(f"[{database}-", "[").replace(f"-{database}]", "]").replace(f"[{database}]", "")
    return test


def test_every_official_case_has_a_test(collected: set[str]) -> None:
    assert collected, "pytest listed no test"
    missing = {case: tests for case, tests in table().items() if not tests or set(tests) - collected}
    assert not missing
