"""The pages that tests/clients makes: what failed is seen, what was not tried is not called good."""

from __future__ import annotations

from pathlib import Path

from tests.clients.report import conformance, matrix, read, tools

RESULTS = """<testsuites><testsuite>
<testcase name="test_login[SQLite-crane]"><properties><property name="setup" value="SQLite"/>
<property name="client" value="crane"/></properties></testcase>
<testcase name="test_login[peers-crane]"><properties><property name="setup" value="two peers"/>
<property name="client" value="crane"/></properties><failure message="x"/></testcase>
<testcase name="test_sign[cosign3]"><properties><property name="client" value="cosign3"/></properties>
</testcase>
</testsuite></testsuites>"""


def test_matrix(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(RESULTS)
    lines = matrix(read(tmp_path / "junit.xml")).splitlines()
    assert "| login | 1 of 2, fails: two peers | — | — |" in lines
    assert "SQLite; two peers." in lines
    # What one instance alone is asked is in another table.
    assert not any("sign" in line for line in lines[:3])
    assert "cosign" in tools(read(tmp_path / "junit.xml"))


def test_conformance_page() -> None:
    figures = {"version": "1.1", "passed": 9, "failed": 2, "skipped": 1, "disabled": 0}
    faults = {"OCI Conformance Test/sha512 blobs/a": "x", "OCI Conformance Test/sha512 blobs/b": "y"}
    page = conformance(
        [("here", {**figures, "failed": 0, "faults": {}})], [("there", {**figures, "faults": faults})]
    )
    assert "| Seawall: here | 1.1 | 9 | 0 | 1 | 0 |" in page
    assert "| there | 1.1 | 9 | 2 | 1 | 0 |" in page
    assert "## there, 1.1: what fails\n\n- sha512 blobs: 2\n" in page
    assert "Seawall: here, 1.1: what" not in page
