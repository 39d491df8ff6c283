"""Instances with everything of their own: one on SQLite, one on PostgreSQL, HAProxy before them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

import pytest

from seawall.availability.cluster.balancer import Balancer, haproxy
from tests.support.link import Link
from tests.support.peer_site import Site
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("peers")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    common = {
        "SEAWALL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "SEAWALL_EXTERNAL_URL": url,
        "SEAWALL_HTTP__WORKERS": "1",
        "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "SEAWALL_KEYS__POLL_SECONDS": "0.3",
        "SEAWALL_PEERS__INTERVAL_SECONDS": "0.3",
        # What is promised within this time is promised on a slow machine too.
        "SEAWALL_PEERS__SETTLE_SECONDS": "6",
        "SEAWALL_JOBS__EMBEDDED": "false",
    }
    servers = [Registry(folder / name, dict(common)) for name in "ab"]
    a, b = servers
    links = [Link(a.port), Link(b.port)]
    a.environment |= {"SEAWALL_PEERS__NAME": "a", "SEAWALL_PEERS__URLS": f'["{links[1].url}"]'}
    b.environment |= {"SEAWALL_PEERS__NAME": "b", "SEAWALL_PEERS__URLS": f'["{links[0].url}"]'}
    a.environment["SEAWALL_HTTP__WORKERS"] = "2"
    b.environment["SEAWALL_DATABASE__URL"] = postgres.database()
    balancer = BalancerServer("haproxy", port)
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_ready()
        balancer.start(haproxy(Balancer(url, [a.url, b.url])))
        found = Site(a, b, url, balancer, links)
        # They have met: before that neither waits for the other.
        found.settle()
        yield found
    finally:
        balancer.stop()
        for link in links:
            link.cut()
        for server in servers:
            server.close()
