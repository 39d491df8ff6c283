"""Clients of the management API, and the lab: a registry without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import rsa_keys
from tests.support.api import Api
from tests.support.lab import lab_settings, run
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

__all__ = ["lab_settings", "run"]

rsa_keys.hand_out()


@pytest.fixture
def admin(registry: Registry) -> Iterator[Api]:
    """The administrator, by Basic credentials."""
    with Api(registry, registry.admin) as client:
        yield client


@pytest.fixture
def anonymous(registry: Registry) -> Iterator[Api]:
    """Nobody."""
    with Api(registry) as client:
        yield client


@pytest.fixture
def as_user(registry: Registry) -> Iterator[Callable[[str, str], Api]]:
    """Clients with given Basic credentials."""
    clients: list[Api] = []

    def make(name: str, password: str = PASSWORD) -> Api:
        clients.append(Api(registry, (name, password)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def server(
    database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Registry]:
    """A started registry of the test's own, on each database."""
    settings = dict(database_settings)
    if settings:
        settings["SEAWALL_DATABASE__URL"] = request.getfixturevalue("postgres").migrated()
    registry = Registry(tmp_path / "data", settings)
    registry.start()
    try:
        yield registry
    finally:
        registry.close()
