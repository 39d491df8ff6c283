"""Builds the portal into the package while setuptools builds it; the rest is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
SOURCES = ROOT / "portal"
DIST = ROOT / "src" / "seawall" / "portal_dist"


def build_portal() -> None:
    """Build with npm unless what is there is newer than every source; say so when it cannot be built."""
    if not (SOURCES / "package.json").is_file() or os.environ.get("SEAWALL_NO_PORTAL"):
        return
    index = DIST / "index.html"
    sources = [p for p in SOURCES.rglob("*") if p.is_file() and "node_modules" not in p.parts]
    if index.is_file() and index.stat().st_mtime >= max(p.stat().st_mtime for p in sources):
        return
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed: the package is built without the portal")
        return
    installed = SOURCES / "node_modules" / ".package-lock.json"
    lock = SOURCES / "package-lock.json"
    if not installed.is_file() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=SOURCES, check=True)  # noqa: S603
        installed.touch()
    subprocess.run([npm, "run", "build"], cwd=SOURCES, check=True)  # noqa: S603


class BuildPy(build_py):
    """build_py with the portal."""

    def run(self) -> None:
        """Build the portal first, so that its files are there to be copied."""
        build_portal()
        # What files a package has was asked before they existed.
        self.__dict__.pop("data_files", None)
        super().run()


class Sdist(sdist):
    """sdist with the built portal: who builds from it needs no Node.js."""

    def run(self) -> None:
        """Build the portal first."""
        build_portal()
        super().run()


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
