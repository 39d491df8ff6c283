"""Scheme 4, and two installations with replication between them; the page's own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.infra.loading import load
from seawall.install.prepare import prepare
from tests.support.api import Api
from tests.support.deploy.docs import Page
from tests.support.processes import PASSWORD, clean_environment
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.signing import Pusher
from tests.support.waiting import until

PAGE = Page("offline-replication.md")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    folder = tmp_path_factory.mktemp("replicated")
    made = []
    try:
        for name in "ab":
            server = Registry(folder / name / "data")
            server.data_dir.parent.mkdir()
            made.append(server)
            server.start()
        yield made[0], made[1]
    finally:
        for server in made:
            server.close()


def run(block: str, a: Registry, b: Registry) -> None:
    """Run a block of the page with these servers in place of its hosts."""
    script = block.replace("http://a.example.com", a.url).replace("http://b.example.com", b.url)
    assert "example.com" not in script
    environment = {"PATH": os.environ["PATH"], "PASSWORD": PASSWORD}
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_harbor_yml_of_the_page(tmp_path: Path) -> None:
    file = tmp_path / "harbor.yml"
    file.write_text(PAGE.one("yaml", "data_volume").replace("/data", str(tmp_path / "data")))
    assert not prepare(file, tmp_path / "out").notes
    settings = load(tmp_path / "out" / "common" / "config" / "seawall.yml")
    assert settings.database.url is None
    assert settings.external_url == "http://registry.example.com"
    assert settings.peers.name == "a"
    assert settings.peers.urls == ["http://b.example.com:8080"]


def test_balancer_of_the_page(tmp_path: Path) -> None:
    script = PAGE.one("sh", "lb-config").replace("seawall ", f"{sys.executable} -m seawall ", 1)
    done = subprocess.run(
        ["bash", "-euc", script.replace("example.com", "localhost")],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "haproxy.cfg").read_text()
    assert text.count(" check") >= 2
    for host in ("a.localhost", "b.localhost"):
        text = text.replace(host, "127.0.0.1")
    BalancerServer("haproxy", 80).check(text)


def test_failover_and_failback(pair: tuple[Registry, Registry]) -> None:
    a, b = pair
    at_a = Pusher(a.url, "library/app", a.admin)
    at_b = Pusher(b.url, "library/app", b.admin)
    before = at_a.image("old", b"before replication was set up")
    run(PAGE.one("sh", '"to-b"'), a, b)
    # What was there, and what comes.
    until(lambda: at_b.pull("old").status_code == 200, "the first copy did not come")
    during = at_a.image("new", b"while it is running")
    until(lambda: at_b.pull("new").status_code == 200, "a push was not replicated")
    assert at_b.pull("old").headers["docker-content-digest"] == before
    assert at_b.pull("new").headers["docker-content-digest"] == during
    a.kill()
    # Failover: clients are sent to B, which has everything and takes pushes.
    assert Pusher(b.url, "library/app", b.admin).pull("new").status_code == 200
    meanwhile = at_b.image("meanwhile", b"pushed to B while A was away")
    a.start()
    assert at_a.pull("meanwhile").status_code == 404
    run(PAGE.one("sh", '"back-to-a"'), a, b)
    until(lambda: at_a.pull("meanwhile").status_code == 200, "failback did not bring what was missing")
    assert at_a.pull("meanwhile").headers["docker-content-digest"] == meanwhile
    api = Api(b, b.admin)
    until(lambda: api.get("/replication/executions/1").json()["status"] == "Succeed", "failback did not end")
