"""Fixtures: one project for each test module, seen by its administrator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oci.client import Client, unique
from tests.support.registry import Registry


@pytest.fixture(scope="module")
def client(registry: Registry) -> Iterator[Client]:
    with Client(registry.url, registry.admin) as made:
        yield made


@pytest.fixture(scope="module")
def project(registry: Registry) -> str:
    name = unique("conformance")
    registry.create_project(name, public=False)
    return name
