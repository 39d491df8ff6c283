"""`seawall jobs wait`: it ends with the job, says what failed, gives up when told to. No runner is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.infra.loading import load
from seawall.process.commands import boundary
from tests.support.databases import with_schema

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a registry of the test's own; exit code, output, errors."""
    for name in [name for name in os.environ if name.startswith("SEAWALL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with_schema(load(None, {"data_dir": tmp_path / "data"}).database_url)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seawall", *arguments, "--data-dir", str(tmp_path / "data")])
        code: object = 0
        try:
            boundary.main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return (code if isinstance(code, int) else 0), said.out, said.err

    return call


def test_waits_for_one_job(run: Run) -> None:
    code, out, _ = run("jobs", "start", "gc")
    assert code == 0
    job = out.strip()
    code, _, error = run("jobs", "wait", job, "--timeout", "0.1")
    assert code == 1
    assert f"still under way after 0.1 s: gc {job}" in error
    assert run("jobs", "stop", job)[0] == 0
    code, _, error = run("jobs", "wait", job)
    assert code == 1
    assert f"job {job} stopped" in error


def test_waits_for_all(run: Run) -> None:
    assert run("jobs", "wait") == (0, "", "")
    job = run("jobs", "start", "gc")[1].strip()
    code, _, error = run("jobs", "wait", "--timeout", "0.1")
    assert code == 1
    assert job in error
    run("jobs", "stop", job)
    assert run("jobs", "wait") == (0, "", "")


def test_unknown_job(run: Run) -> None:
    code, _, error = run("jobs", "wait", "nothing")
    assert code == 1
    assert error.startswith("seawall: no job nothing")
