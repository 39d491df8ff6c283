"""Fixtures: a real PostgreSQL, and real Seawall servers on free loopback ports."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import seawall.process.tables  # noqa: F401 - every table is declared in the tests too
from tests.support import folders, resting, spread
from tests.support.processes import ROOT
from tests.support.receiver import Receiver
from tests.support.registry import Registry
from tests.support.servers.postgres import Postgres, PostgresPair, running_postgres
from tests.support.servers.swift import SwiftServer

# Examples take as long as the machine makes them: a deadline for each finds other work, not faults.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A run over several workers keeps its files in memory; what measures the host has the disk."""
    if config.getoption("numprocesses", None):
        folders.use_memory()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> spread.Spread:
    """Spread files and costly folders, not single tests."""
    return spread.scheduler(config, log)


# After pytest has put together what shares a parameter of a session's fixture.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, what takes longest goes first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        spread.sort(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Garbage is not looked for among what stays: all modules and tests, a million objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Servers that this test does not use take no time from it."""
    resting.before(item)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the test run."""
    with running_postgres() as server:
        yield server


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
def database(request: pytest.FixtureRequest) -> str:
    """The kind of the metadata database: every test using it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def database_settings(database: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment that chooses an empty metadata database, of either kind."""
    if database == "sqlite":
        return {}
    server: Any = request.getfixturevalue("postgres")
    return {"SEAWALL_DATABASE__URL": server.migrated()}


@pytest.fixture(scope="session")
def shared_registries() -> Iterator[dict[str, Registry]]:
    """The servers of `registry` by database; they stay when the tests go on to the other database."""
    servers: dict[str, Registry] = {}
    yield servers
    for server in servers.values():
        resting.forget(server)
        server.close()


@pytest.fixture(scope="session")
def registry(
    database: str,
    shared_registries: dict[str, Registry],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Registry:
    """A running registry with authentication, shared by the tests of a run (per database).

    `SEAWALL_TEST_STORAGE=s3` runs every test that uses it on S3 instead of the filesystem.
    """
    if database not in shared_registries:
        settings = {"SEAWALL_HTTP__WORKERS": "2", **request.getfixturevalue("database_settings")}
        if os.environ.get("SEAWALL_TEST_STORAGE") == "s3":
            s3: SwiftServer = request.getfixturevalue("s3_server")
            settings |= s3.settings(s3.bucket())
        shared_registries[database] = Registry(tmp_path_factory.mktemp("registry") / "data", settings)
        shared_registries[database].start()
        resting.keep(shared_registries[database], "registry", database)
    return shared_registries[database]


@pytest.fixture
def fresh_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry (SQLite) of one test's own, not yet started."""
    server = Registry(tmp_path / "data")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 200."""
    found = Receiver()
    try:
        yield found
    finally:
        found.close()


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
