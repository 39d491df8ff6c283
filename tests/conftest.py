"""Fixtures: a real PostgreSQL, and real Seawall servers on free loopback ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import seawall.process.tables  # noqa: F401 - every table is declared in the tests too
from tests.support.processes import ROOT
from tests.support.registry import Registry
from tests.support.servers.postgres import Postgres, PostgresPair
from tests.support.servers.swift import SwiftServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the test run."""
    root = Path(tempfile.mkdtemp(prefix="seawall-pg-"))
    root.chmod(0o755)
    server = Postgres(root)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SwiftServer]:
    """One real S3 server (OpenStack Swift) for the test run; tests take a bucket each."""
    server = SwiftServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_pair() -> Iterator[PostgresPair]:
    """A primary and its synchronous streaming replica, of one test's own since it will break them."""
    pair = PostgresPair()
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment that chooses the metadata database: every test using it runs on both."""
    if request.param == "sqlite":
        return {}
    server: Any = request.getfixturevalue("postgres")
    return {"SEAWALL_DATABASE__URL": server.database()}


@pytest.fixture(scope="session")
def registry(
    database_settings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Registry]:
    """A running registry with authentication, shared by the tests of a run (per database).

    `SEAWALL_TEST_STORAGE=s3` runs every test that uses it on S3 instead of the filesystem.
    """
    settings = dict(database_settings)
    if os.environ.get("SEAWALL_TEST_STORAGE") == "s3":
        s3: SwiftServer = request.getfixturevalue("s3_server")
        settings |= s3.settings(s3.bucket())
    server = Registry(tmp_path_factory.mktemp("registry") / "data", settings)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


@pytest.fixture
def fresh_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry (SQLite) of one test's own, not yet started."""
    server = Registry(tmp_path / "data")
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


@pytest.fixture(scope="session")
def portal_dist() -> Path:
    """The built portal; built now when its sources are newer."""
    done = subprocess.run(
        ["make", "-s", "portal"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dist = ROOT / "src" / "seawall" / "portal_dist"
    assert (dist / "index.html").is_file()
    return dist
