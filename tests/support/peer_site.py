"""Instances with storage of their own behind a balancer."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.availability.cluster.balancer import Balancer, haproxy
from tests.support.api import Api
from tests.support.link import Link
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.support.signing import Pusher
from tests.support.waiting import until


@dataclass
class Site:
    """Two instances and a balancer before them."""

    a: Registry
    b: Registry
    url: str
    balancer: BalancerServer
    links: list[Link]

    def cut(self) -> None:
        """Cut the link between the two; clients still reach both."""
        for link in self.links:
            link.cut()

    def mend(self) -> None:
        """Undo it."""
        for link in self.links:
            link.mend()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """With the link cut."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def pusher(self, which: Registry | None, repository: str) -> Pusher:
        """A client of an instance, or (None) of the balancer, on a connection of its own."""
        return Pusher(self.url if which is None else which.url, repository, ("admin", PASSWORD))

    def api(self, which: Registry, auth: tuple[str, str] = ("admin", PASSWORD)) -> Api:
        return Api(which, auth)

    def equal(self) -> bool:
        """Whether neither sees a difference, and nothing is on its way."""
        for which in (self.a, self.b):
            for item in self.api(which).get("/peers").json():
                if not item["reachable"] or item["behind"] or item["differences"]:
                    return False
        return True

    def settle(self) -> None:
        """Until both are equal."""
        try:
            until(self.equal, "")
        except AssertionError:
            raise AssertionError(f"they differ: {self.differences()}") from None

    def differences(self) -> list[Any]:
        """What they differ in."""
        return [self.api(which).get("/peers").json() for which in (self.a, self.b)]


@contextmanager
def two_peers(folder: Path, postgres: Postgres, *, balance: str = "leastconn") -> Iterator[Site]:
    """One on SQLite and one on PostgreSQL that have met; HAProxy before them chooses by `balance`."""
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
    b.environment["SEAWALL_DATABASE__URL"] = postgres.migrated()
    balancer = BalancerServer("haproxy", port)
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_ready()
        text = haproxy(Balancer(url, [a.url, b.url]))
        balancer.start(text.replace("balance leastconn", f"balance {balance}"))
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
