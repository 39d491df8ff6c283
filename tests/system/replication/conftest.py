"""Fixtures of the replication tests: Seawalls, Debian's docker-registry, a client of the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import resting
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers.docker_registry import DockerRegistry


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    server = DockerRegistry(tmp_path_factory.mktemp("docker-registry"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Another Seawall, on SQLite."""
    server = Registry(tmp_path_factory.mktemp("second") / "data")
    server.start()
    try:
        resting.keep(server, "second")
        yield server
    finally:
        resting.forget(server)
        server.close()


@pytest.fixture
def api(registry: Registry) -> Api:
    return Api(registry)


@pytest.fixture
def here(registry: Registry) -> Remote:
    return Remote(registry.url, registry.admin)


@pytest.fixture
def there(second: Registry) -> Remote:
    return Remote(second.url, second.admin)


@pytest.fixture
def plain(docker_registry: DockerRegistry) -> Remote:
    return Remote(docker_registry.url)
