"""Commands about quotas and jobs, on a registry that no server serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.infra.db import migrate
from seawall.process.commands import boundary

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a registry with projects `app` and `web`: (exit code, output, errors)."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("SEAWALL_DATA_DIR", str(data))
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{data / 'seawall.db'}"
    migrate.upgrade(url)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["seawall", *words])
        code: object = 0
        try:
            boundary.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    for name in ("app", "web"):
        assert call("project", "create", name)[0] == 0
    return call


def test_quotas(run: Run) -> None:
    _, shown, _ = run("quota", "list")
    for name in ("app", "web"):
        assert name in shown
    assert run("quota", "set", "web", "10GiB") == (0, "", "")
    assert "10.0 GiB" in run("quota", "list")[1]
    for unbound in ("-1", "none"):
        assert run("quota", "set", "web", unbound) == (0, "", "")
        assert "GiB" not in run("quota", "list")[1]
    for size in ("0", "10 parsecs", "-2"):
        code, _, said = run("quota", "set", "web", size)
        assert code == 1
        assert said.startswith(f"seawall: size '{size}'"), said
    assert run("quota", "set", "nosuch", "1GiB")[2] == "seawall: project nosuch not found\n"


def test_jobs(run: Run) -> None:
    code, _, said = run("jobs", "log", "NOSUCH")
    assert (code, said) == (1, "seawall: no job NOSUCH; `seawall jobs list` shows what there is\n")
    code, _, said = run("jobs", "start", "nosuch")
    assert code == 1
    assert said.startswith("seawall: no job kind 'nosuch'")
    assert run("jobs", "stop", "NOSUCH")[0] == 1
    job = run("jobs", "start", "gc")[1].strip()
    assert run("jobs", "log", job) == (0, "", "")
    assert job in run("jobs", "list")[1]
