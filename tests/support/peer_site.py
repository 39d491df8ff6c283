"""Instances with storage of their own behind a balancer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.api import Api
from tests.support.link import Link
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
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
