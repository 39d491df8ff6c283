"""One line says which program cannot be built; one that is there is not built again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import foreign
from tests.support.processes import ROOT, clean_environment


def build_all(path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.foreign"],
        env=clean_environment(**environment) | {"PATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fake_go(folder: Path, body: str) -> str:
    """A PATH whose `go` is a shell script."""
    folder.mkdir()
    (folder / "go").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "go").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_without_go(tmp_path: Path) -> None:
    done = build_all(str(tmp_path), SEAWALL_CLIENTS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("test-clients: cannot build ")
    assert "no Go toolchain" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "dial tcp: lookup proxy.golang.org: no such host",
            "the Go module proxy (https://a.test) cannot be reached",
        ),
        ("go: x@v1: invalid version: unknown revision v1", "unknown revision v1"),
    ],
    ids=["no proxy", "no version"],
)
def test_what_go_says(tmp_path: Path, said: str, told: str) -> None:
    path = fake_go(tmp_path / "bin", f'echo "{said}" >&2; exit 1')
    done = build_all(path, SEAWALL_CLIENTS_CACHE=str(tmp_path / "cache"), GOPROXY="https://a.test")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("test-clients: cannot build ")
    assert told in last
    assert os.listdir(tmp_path / "cache") == []


def test_built_once(tmp_path: Path) -> None:
    path = fake_go(
        tmp_path / "bin",
        f'[ $1 = build ] && touch "$5" && echo "$PWD" >>{tmp_path}/built && exit\n'
        f'name=${{4##*/}}; touch "$GOBIN/${{name%@*}}"; echo "$4" >>{tmp_path}/built',
    )
    cache = str(tmp_path / "cache")
    for _ in range(2):
        done = build_all(path, SEAWALL_CLIENTS_CACHE=cache)
        assert done.returncode == 0, done.stderr
    built = (tmp_path / "built").read_text().split()
    assert built == [
        str(ROOT / program.source) if program.source else f"{program.package}@{program.version}"
        for program in foreign.PROGRAMS.values()
    ]


def test_versions_are_those_of_the_modules() -> None:
    """What is built from a folder of the checkout has the version that is shown."""
    for program in foreign.PROGRAMS.values():
        if program.source:
            text = (ROOT / program.source / "go.mod").read_text()
            assert re.search(rf"^(tool |\t){re.escape(program.package)}$", text, re.MULTILINE)
            module = program.package.partition("/cmd/")[0]
            assert f"\t{module} {program.version} // indirect\n" in text


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEAWALL_CLIENTS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert foreign.cache() == tmp_path / "seawall-clients"
    monkeypatch.setenv("SEAWALL_CLIENTS_CACHE", "/elsewhere")
    assert (
        foreign.PROGRAMS["crane"].path
        == Path("/elsewhere") / f"crane@{foreign.PROGRAMS['crane'].version}/crane"
    )
