"""portal/build.sh: builds with a Node.js that can, and says one line and ends well where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout's portal, with an npm that notes what it is asked for; no Node.js yet."""
    (tmp_path / "portal").mkdir()
    shutil.copy(ROOT / "portal/build.sh", tmp_path / "portal")
    (tmp_path / "portal/package-lock.json").write_text("{}")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("dirname", "touch", "mkdir"):
        (programs / name).symlink_to(str(shutil.which(name)))
    npm = programs / "npm"
    npm.write_text('#!/bin/sh\necho "$*" >> ../calls\n[ "$1" = ci ] && mkdir -p node_modules || true\n')
    npm.chmod(0o755)
    return tmp_path


def build(checkout: Path, version: str | None) -> tuple[str, list[str]]:
    """What it says, and what npm was asked for."""
    if version is not None:
        node = checkout / "bin/node"
        node.write_text(f"#!/bin/sh\necho v{version}\n")
        node.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(checkout / "portal/build.sh")],
        env={"PATH": str(checkout / "bin")}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    calls = checkout / "calls"
    return done.stdout, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize("version", ["20.19.0", "20.20.2", "22.12.0", "23.0.0", "24.1.0"])
def test_builds(checkout: Path, version: str) -> None:
    assert build(checkout, version) == ("", ["ci --no-audit --no-fund", "run -s build"])
    # What is installed already is not installed again.
    assert build(checkout, version)[1][2:] == ["run -s build"]


@pytest.mark.parametrize("version", [None, "18.20.4", "20.18.9", "21.7.3", "22.11.0"])
def test_says_why_not(checkout: Path, version: str | None) -> None:
    said, calls = build(checkout, version)
    assert not calls
    assert said.count("\n") == 1
    reason = f"Node.js v{version} cannot build it" if version else "Node.js and npm are not installed"
    assert said.startswith(f"portal: {reason}")
    assert "Seawall runs without the portal" in said
    dist = checkout / "src/seawall/portal_dist"
    dist.mkdir(parents=True)
    (dist / "index.html").write_text("")
    assert build(checkout, version)[0].endswith("the portal that was built before is used\n")
