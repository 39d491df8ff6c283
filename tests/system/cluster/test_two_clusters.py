"""Two installations behind one balancer that share nothing: refusals say why, and `ha check` says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry, str]]:
    """Two installations of their own, and the URL of an HAProxy that sends each request to the next one."""
    folder = tmp_path_factory.mktemp("apart")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    made = []
    balancer = BalancerServer("haproxy", port)
    try:
        for name in "ab":
            settings = {"SEAWALL_EXTERNAL_URL": url, "SEAWALL_HTTP__WORKERS": "1"}
            server = Registry(folder / name, settings)
            made.append(server)
            server.start()
        words = [word for server in made for word in ("--instance", server.url)]
        done = made[0].cli("ha", "lb-config", "haproxy", "--bind", f"127.0.0.1:{port}", *words)
        assert done.returncode == 0, done.stderr
        balancer.start(done.stdout)
        yield made[0], made[1], url
    finally:
        balancer.close()
        for server in made:
            if server.process is not None:
                server.kill()


def token(url: str) -> str:
    scope = {"service": "seawall", "scope": "repository:library/a:pull"}
    answer = httpx.get(f"{url}/service/token", params=scope, auth=("admin", PASSWORD), timeout=30)
    return str(answer.raise_for_status().json()["token"])


def test_a_refused_token_says_why(pair: tuple[Registry, Registry, str]) -> None:
    a, b, _url = pair
    header = {"Authorization": f"Bearer {token(a.url)}"}
    refused = httpx.get(f"{b.url}/v2/library/a/tags/list", headers=header)
    assert refused.status_code == 401
    (error,) = refused.json()["errors"]
    assert error["code"] == "UNAUTHORIZED"
    assert error["message"] == "the token was signed by a key that this registry does not know"
    assert "www-authenticate" in refused.headers
    lines = [json.loads(line) for line in b.log.read_text().splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line["event"] == "token refused"]
    assert told["reason"] == error["message"]
    assert told["level"] == "warning"


def test_other_refusals(pair: tuple[Registry, Registry, str]) -> None:
    for headers, reason in (
        ({"Authorization": "Bearer x.y.z"}, "the token is malformed"),
        ({}, "authentication required"),
    ):
        refused = httpx.get(f"{pair[0].url}/v2/", headers=headers)
        assert refused.status_code == 401
        assert refused.json()["errors"][0]["message"] == reason


def test_the_check_names_two_clusters(pair: tuple[Registry, Registry, str]) -> None:
    for server in pair[:2]:
        deadline = time.monotonic() + 60
        while True:
            report = json.loads(server.cli("ha", "check", "--output", "json").stdout)
            kinds = {fault["kind"] for fault in report["faults"]}
            if kinds == {"clusters"} or time.monotonic() > deadline:
                break
        (fault,) = report["faults"]
        assert fault["message"].startswith("these are two clusters: behind http")
        for cure in ("database.url", "peers.urls", "keys import", "balance source"):
            assert cure in fault["cure"]


def test_output_of_status_is_not_cut(pair: tuple[Registry, Registry, str], tmp_path: Path) -> None:
    a = pair[0]
    (shown,) = json.loads(a.cli("ha", "status", "--output", "json").stdout)
    assert shown["address"] == a.url
    table = a.cli("ha", "status").stdout
    for value in (a.url, shown["hostname"], shown["version"], "alive"):
        assert value in table


def test_an_unverified_balancer_is_warned_of(pair: tuple[Registry, Registry, str]) -> None:
    words = ("ha", "lb-config", "haproxy", "--instance", "https://a.example.com")
    done = pair[0].cli(*words)
    assert "ssl verify none" in done.stdout
    assert done.stdout.startswith("# WARNING: without --ca")
    assert done.stderr.startswith("warning: without --ca")
    assert "WARNING" not in pair[0].cli(*words, "--ca", "/ca.pem").stdout
    assert (
        "WARNING" not in pair[0].cli("ha", "lb-config", "nginx", "--instance", "http://a.example.com").stdout
    )
