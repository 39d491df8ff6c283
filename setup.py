"""Builds the portal into the package while setuptools builds it; the rest is in pyproject.toml."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
SOURCES = ROOT / "portal"
DIST = ROOT / "src" / "seawall" / "portal_dist"


def build_portal() -> None:
    """Build unless what is there is newer than every source."""
    if not (SOURCES / "package.json").is_file() or os.environ.get("SEAWALL_NO_PORTAL"):
        return
    index = DIST / "index.html"
    sources = [p for p in SOURCES.rglob("*") if p.is_file() and "node_modules" not in p.parts]
    if index.is_file() and index.stat().st_mtime >= max(p.stat().st_mtime for p in sources):
        return
    # It says so, and ends well, where Node.js is missing or too old.
    subprocess.run(["sh", str(SOURCES / "build.sh")], check=True)  # noqa: S603, S607 - a fixed command


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


class BdistWheel(bdist_wheel):
    """bdist_wheel with an SBOM where PEP 770 has it, `.dist-info/sboms`."""

    def write_wheelfile(self, wheelfile_base: str, *arguments: Any, **options: Any) -> None:
        """Write the SBOM beside WHEEL, so that RECORD has it."""
        super().write_wheelfile(wheelfile_base, *arguments, **options)
        spec = importlib.util.spec_from_file_location("parts", ROOT / "src/seawall/install/parts.py")
        assert spec is not None
        assert spec.loader is not None
        parts = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(parts)
        bundled = parts.portal_components(SOURCES / "package-lock.json") if DIST.is_dir() else []
        extras = self.distribution.extras_require
        optional = [need for extra in extras.values() for need in extra if not need.startswith("seawall[")]
        needs = [*self.distribution.install_requires, *optional]
        folder = Path(wheelfile_base) / "sboms"
        folder.mkdir(exist_ok=True)
        text = parts.wheel_sbom(self.distribution.get_version(), needs, bundled)
        (folder / "seawall.cdx.json").write_bytes(text)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist, "bdist_wheel": BdistWheel})
