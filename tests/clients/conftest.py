"""Fixtures: setups that run, and a shell that finds the programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.foreign import PROGRAMS
from tests.support.oci.clients import Shell
from tests.support.setups import SETUPS, Setup, sqlite


@pytest.fixture(scope="session", params=list(SETUPS))
def setup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Seawall, set up in each way."""
    with SETUPS[request.param](tmp_path_factory.mktemp("setup")) as made:
        yield made


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """One instance, for programs whose requests the others have made on each setup already."""
    with sqlite(tmp_path_factory.mktemp("single")) as made:
        yield made


@pytest.fixture(autouse=True)
def setup_named(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """For the pages that tests/clients/report.py makes from the results."""
    if "setup" in request.fixturenames:
        record_property("setup", request.node.callspec.params["setup"])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    made = Shell(home)
    made.env["PATH"] = ":".join([*(str(item.path.parent) for item in PROGRAMS.values()), made.env["PATH"]])
    return made
