"""The bundle for several Python versions: install.sh takes one that fits, and says so when there is none."""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from seawall.install import bundle
from seawall.kernel.errors import ConfigError

TOOLS = ("cat", "dirname", "id", "sed", "sh", "sha256sum")


def install(folder: Path, wanted: str, pythons: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run install.sh of an empty bundle where only `pythons` (name: version) are to be found."""
    files = {"VERSION": "0.0.0\n", "PYTHON": f"{wanted}\n", "requirements.txt": ""}
    data = importlib.resources.files("seawall.install") / "data"
    files["install.sh"] = (data / "install.sh").read_text()
    (folder / "bin").mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    sums = "".join(f"{hashlib.sha256(t.encode()).hexdigest()}  {n}\n" for n, t in files.items())
    (folder / "SHA256SUMS").write_text(sums)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / "bin" / tool).symlink_to(found)
    for name, version in pythons.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
    # Past the choice of Python it would change this host; it ends there for want of `getent`.
    return subprocess.run(
        [str(folder / "bin" / "sh"), str(folder / "install.sh"), "--no-start", "--user", "nobody"],
        env={"PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="install.sh refuses anybody but root first")
@pytest.mark.parametrize(
    ("wanted", "pythons", "message"),
    [
        ("3.11", {"python3": "3.9"}, "this bundle's wheels are for Python 3.11; this host has 3.9"),
        ("3.11 3.12", {}, "this bundle's wheels are for Python 3.11 or 3.12; this host has none"),
        ("3.11 3.12", {"python3": "3.12"}, "getent"),
        ("3.11 3.12", {"python3": "3.9", "python3.12": "3.12"}, "getent"),
    ],
)
def test_install_takes_a_python_that_fits(
    tmp_path: Path, wanted: str, pythons: dict[str, str], message: str
) -> None:
    done = install(tmp_path, wanted, pythons)
    assert done.returncode != 0
    assert message in done.stderr
    assert message == "getent" or done.stderr.count("\n") == 1


def test_a_pin_has_the_hashes_of_all_its_wheels() -> None:
    wheels = {
        "pip-25.1-py3-none-any.whl": "p",
        "thing-1.0-cp311-cp311-manylinux_2_17_x86_64.whl": "a",
        "thing-1.0-cp312-cp312-manylinux_2_17_x86_64.whl": "b",
    }
    assert bundle._requirements(wheels) == b"thing==1.0 --hash=sha256:a --hash=sha256:b\n"


@pytest.mark.parametrize("version", ["3.10", "4.0", "x", "3.11; echo"])
def test_a_version_that_cannot_be(tmp_path: Path, version: str) -> None:
    with pytest.raises(ConfigError, match=r"--python .* must be 3\.11 or newer"):
        bundle.build(tmp_path / "b.tar.gz", pythons=[version])
