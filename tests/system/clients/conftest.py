"""Fixtures: users and projects as a team would have them, and clients kept away from the real HOME."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.oci.client import Client, unique
from tests.support.oci.clients import Shell, Team
from tests.support.oci.layout import Layout, write_layout
from tests.support.registry import Registry

# A secret with the characters that break careless quoting and careless Basic decoding.
SECRET = "Pa55:w$rd%40 &+/=Z"


@pytest.fixture(scope="session")
def team(registry: Registry) -> Team:
    made = Team(
        registry,
        unique("private"),
        unique("public"),
        (unique("dev"), "Dev-Passw0rd"),
        (unique("guest"), "Guest-Passw0rd"),
        (unique("ci.machine"), SECRET),
        (unique("stranger"), "Strange-Passw0rd"),
    )
    registry.create_project(made.private, public=False)
    registry.create_project(made.public, public=True)
    for user in (made.developer, made.guest, made.machine, made.stranger):
        registry.create_user(*user)
    for project in (made.private, made.public):
        registry.add_member(project, made.developer[0], "developer")
        registry.add_member(project, made.machine[0], "developer")
        registry.add_member(project, made.guest[0], "guest")
    return made


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    return Shell(home)


@pytest.fixture(scope="module", autouse=True)
def client_installed(request: pytest.FixtureRequest) -> None:
    """Each module names its programs in PROGRAMS; one that is absent is an error, not a skip."""
    for program in getattr(request.module, "PROGRAMS", ()):
        assert shutil.which(program), f"{program} is not installed: see .ci/packages.txt"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_layout(tmp_path / "layout")


@pytest.fixture
def admin(registry: Registry) -> Iterator[Client]:
    """The plain HTTP view, to check what a client really left in the registry."""
    with Client(registry.url, registry.admin) as made:
        yield made
