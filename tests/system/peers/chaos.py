"""Two peers under load through the balancer, while the link between them is cut and they are killed in turn.

    python -m tests.system.peers.chaos --seconds 60

Afterwards both must have every push that was acknowledged, and no difference. Exit code 1 when not.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import secrets
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from seawall.availability.cluster.balancer import Balancer, haproxy
from tests.support.link import Link
from tests.support.peer_site import Site
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.support.signing import Pusher

PUSHERS = 3


def site_in(folder: Path, postgres: Postgres) -> Site:
    """Two instances and a balancer, started."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    common = {
        "SEAWALL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "SEAWALL_EXTERNAL_URL": url,
        "SEAWALL_HTTP__WORKERS": "1",
        "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "SEAWALL_PEERS__INTERVAL_SECONDS": "0.5",
        "SEAWALL_JOBS__EMBEDDED": "false",
        "SEAWALL_LOG__ACCESS": "false",
    }
    a, b = (Registry(folder / name, dict(common)) for name in "ab")
    links = [Link(a.port), Link(b.port)]
    a.environment |= {"SEAWALL_PEERS__NAME": "a", "SEAWALL_PEERS__URLS": f'["{links[1].url}"]'}
    b.environment |= {"SEAWALL_PEERS__NAME": "b", "SEAWALL_PEERS__URLS": f'["{links[0].url}"]'}
    b.environment["SEAWALL_DATABASE__URL"] = postgres.migrated()
    for server in (a, b):
        server.start()
    balancer = BalancerServer("haproxy", port)
    balancer.start(haproxy(Balancer(url, [a.url, b.url])))
    return Site(a, b, url, balancer, links)


class Load:
    """Pushes of new tags and moves of old ones, and what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.new: dict[str, str] = {}
        self.moved: set[str] = set()
        self.tries = 0
        self.over = threading.Event()

    def run(self, number: int) -> None:
        """Push until it is over."""
        count = 0
        while not self.over.is_set():
            count += 1
            tag = f"n{number}-{count}" if count % 3 else "moving"
            self.tries += 1
            with contextlib.suppress(httpx.HTTPError, AssertionError):
                pusher = Pusher(self.url, "library/load", ("admin", PASSWORD))
                with pusher.client:
                    digest = pusher.image(tag, secrets.token_bytes(20_000))
                if tag == "moving":
                    self.moved.add(digest)
                else:
                    self.new[tag] = digest
            time.sleep(0.05)


def missing(site: Site, load: Load) -> list[str]:
    """What was acknowledged and is not on both, by content."""
    found = []
    for which in (site.a, site.b):
        pusher = Pusher(which.url, "library/load", ("admin", PASSWORD))
        for tag, digest in load.new.items():
            answer = pusher.pull(tag)
            if answer.headers.get("docker-content-digest") != digest:
                found.append(f"{which.url} {tag}: {answer.status_code}")
                continue
            for layer in answer.json()["layers"]:
                if pusher.client.get(f"/blobs/{layer['digest']}").status_code != 200:
                    found.append(f"{which.url} {tag}: a layer")
        # A tag that moved stands for one of them; the others are there by digest.
        for digest in load.moved:
            if pusher.pull(digest).status_code != 200:
                found.append(f"{which.url} {digest}")
    return found


def main() -> int:
    """See the module text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    root = Path(tempfile.mkdtemp(prefix="seawall-peers-"))
    (root / "pg").mkdir()
    root.chmod(0o755)
    postgres = Postgres(root / "pg")
    postgres.start()
    site = site_in(root, postgres)
    load = Load(site.url)
    threads = [threading.Thread(target=load.run, args=(number,), daemon=True) for number in range(PUSHERS)]
    faults: dict[str, int] = {"cut": 0, "kill a": 0, "kill b": 0}
    try:
        for thread in threads:
            thread.start()
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until:
            time.sleep(chance.uniform(2, 5))
            fault = chance.choice(list(faults))
            faults[fault] += 1
            if fault == "cut":
                site.cut()
                time.sleep(chance.uniform(1, 6))
                site.mend()
                continue
            server = site.a if fault == "kill a" else site.b
            server.kill()
            time.sleep(chance.uniform(0.5, 3))
            server.start()
        load.over.set()
        for thread in threads:
            thread.join(60)
        began = time.monotonic()
        while not site.equal() and time.monotonic() < began + 120:
            time.sleep(0.25)
        result = {
            "seconds": arguments.seconds,
            "faults": faults,
            "pushes": load.tries,
            "acknowledged": len(load.new) + len(load.moved),
            "equal_after_seconds": round(time.monotonic() - began, 1),
            "equal": site.equal(),
            "missing": missing(site, load),
            "conflicts": len(site.api(site.a).get("/peers/conflicts").json()),
        }
        print(json.dumps(result, indent=1))
        if not result["equal"]:
            print(json.dumps(site.differences(), indent=1)[:4000])
        return 0 if result["equal"] and not result["missing"] else 1
    finally:
        load.over.set()
        site.balancer.stop()
        for server in (site.a, site.b):
            server.close()
        postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
