"""Instances with everything of their own: one on SQLite, one on PostgreSQL, HAProxy before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.peer_site import Site, two_peers
from tests.support.servers.postgres import Postgres


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Site]:
    with two_peers(tmp_path_factory.mktemp("peers"), postgres) as found:
        yield found
