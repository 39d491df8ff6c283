"""Real HAProxy and nginx with the configurations that `seawall ha lb-config` prints."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seawall.availability.cluster.balancer import KINDS, Balancer
from seawall.kernel.errors import InvalidError
from tests.support.cluster import Cluster
from tests.support.instances import check, kinds
from tests.support.processes import ROOT, free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.support.waiting import until

EXAMPLE = Balancer(
    "https://registry.example.com",
    ["http://10.0.0.11:8080", "http://10.0.0.12:8080", "http://10.0.0.13:8080"],
)
DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize(("kind", "file"), [("haproxy", "haproxy.cfg"), ("nginx", "seawall.conf")])
def test_examples_are_what_the_command_prints(kind: str, file: str) -> None:
    assert (DEPLOY / kind / file).read_text() == KINDS[kind](EXAMPLE)


def test_compose_with_nginx_has_what_the_command_prints() -> None:
    instances = [f"http://seawall-{number}:8080" for number in (1, 2, 3)]
    made = KINDS["nginx"](Balancer("http://localhost:8080", instances, files="/var/lib/seawall/registry"))
    assert (DEPLOY / "docker/nginx.conf").read_text() == made


def test_wrong_input() -> None:
    for instances in ([], ["10.0.0.1:80"], ["http://a:1", "https://b:1"]):
        with pytest.raises(InvalidError):
            KINDS["haproxy"](Balancer("http://x", instances))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate with key, certificate) for 127.0.0.1."""
    root = tmp_path_factory.mktemp("tls")
    key, crt, both = root / "k.pem", root / "c.pem", root / "both.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=lb -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {crt}".split(),
        check=True,
        capture_output=True,
    )
    both.write_text(crt.read_text() + key.read_text())
    return both, crt


@pytest.fixture(scope="module", params=["haproxy", "nginx"])
def balanced(
    request: pytest.FixtureRequest,
    postgres: Postgres,
    certificate: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, BalancerServer, httpx.Client]]:
    """Three instances behind a balancer with TLS, and a client of it."""
    both, crt = certificate
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    cluster = Cluster(
        tmp_path_factory.mktemp(request.param),
        postgres.migrated(),
        settings={
            "SEAWALL_EXTERNAL_URL": url,
            "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            "SEAWALL_HTTP__DRAIN_NOTICE_SECONDS": "4",
            "SEAWALL_CA_DOWNLOAD": str(crt),
        },
    )
    server = BalancerServer(request.param, port)
    try:
        cluster.start()
        printed = cluster.instances[0].cli(
            "ha",
            "lb-config",
            request.param,
            "--bind",
            f"127.0.0.1:{port}",
            "--certificate",
            str(both),
            "--key",
            str(both),
        )
        assert printed.returncode == 0, printed.stderr
        for instance in cluster.instances:
            assert f" {instance.host} " in printed.stdout
        server.start(printed.stdout)
        context = ssl.create_default_context(cafile=str(crt))
        with httpx.Client(base_url=url, verify=context, timeout=60, auth=cluster.admin) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            yield cluster, server, client
    finally:
        server.close()
        cluster.close()


def push(client: httpx.Client, repository: str, data: bytes, *, chunks: int = 1) -> str:
    """Upload a blob in `chunks` requests; returns its digest."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status().headers["Location"]
    step = -(-len(data) // chunks)
    for start in range(0, len(data), step):
        part = data[start : start + step]
        location = client.patch(location, content=part).raise_for_status().headers["Location"]
    done = client.put(location, params={"digest": digest})
    assert done.status_code == 201, done.text
    return digest


def test_every_pair_and_the_balancer(balanced: tuple[Cluster, BalancerServer, httpx.Client]) -> None:
    cluster, _, _ = balanced
    report = check(cluster)
    assert report["faults"] == []
    assert "balancer" in report["tested"]
    assert report["pairs"] == 6


def test_uploads_go_on_at_another_instance(balanced: tuple[Cluster, BalancerServer, httpx.Client]) -> None:
    _, server, client = balanced
    data = os.urandom(48 * 1024 * 1024)
    digest = push(client, "library/big", data, chunks=6)
    got = client.get(f"/v2/library/big/blobs/{digest}")
    assert got.content == data
    part = client.get(f"/v2/library/big/blobs/{digest}", headers={"Range": "bytes=5-9"})
    assert part.content == data[5:10]
    starts = [20_000_000 + 20_000 * number for number in range(1024)]
    ranges = "bytes=" + ", ".join(f"{start}-{start + 99}" for start in starts)
    parts = client.get(f"/v2/library/big/blobs/{digest}", headers={"Range": ranges})
    assert parts.status_code == 206, parts.text[:200]
    found = re.findall(
        rb"\r\nContent-Range: bytes [0-9]+-[0-9]+/[0-9]+\r\n\r\n(.{100})\r\n--", parts.content, re.S
    )
    assert found == [data[start : start + 100] for start in starts]
    for room in ("client_body", "proxy"):
        kept = [p for p in (server.root / room).rglob("*") if p.is_file()] if server.kind == "nginx" else []
        assert kept == [], "bodies are passed on, not kept in files"


def test_addresses_are_the_balancers(balanced: tuple[Cluster, BalancerServer, httpx.Client]) -> None:
    _, _, client = balanced
    challenge = httpx.get(f"{str(client.base_url).rstrip('/')}/v2/", verify=False).headers["WWW-Authenticate"]
    assert f'realm="{str(client.base_url).rstrip("/")}/service/token"' in challenge
    assert client.get("/metrics").status_code == 404
    answer = client.post(
        "/v2/library/a/blobs/uploads/",
        headers={"X-Forwarded-Host": "evil.example", "Forwarded": "for=1.2.3.4"},
    )
    assert answer.headers["Location"].startswith(str(client.base_url))


def test_an_instance_dies_and_another_leaves(
    balanced: tuple[Cluster, BalancerServer, httpx.Client],
) -> None:
    cluster, server, client = balanced
    digest = push(client, "library/app", b"hello")
    failed: list[str] = []
    done = threading.Event()
    served = [0, 0]

    def reads() -> None:
        with httpx.Client(base_url=client.base_url, verify=False, auth=cluster.admin, timeout=30) as reader:
            while not done.is_set():
                answer = reader.get(f"/v2/library/app/blobs/{digest}")
                served[0] += 1
                if answer.status_code != 200 or answer.content != b"hello":
                    failed.append(f"read: {answer.status_code} {answer.text[:200]}")

    def writes() -> None:
        with httpx.Client(base_url=client.base_url, verify=False, auth=cluster.admin, timeout=30) as writer:
            while not done.is_set():
                data = os.urandom(2000)
                try:
                    push(writer, "library/app", data, chunks=2)
                    served[1] += 1
                except (httpx.HTTPError, AssertionError) as error:
                    failed.append(f"write: {error}")

    threads = [threading.Thread(target=work) for work in (reads, writes, writes)]
    for thread in threads:
        thread.start()
    try:
        # Leaving in good order fails nobody: the balancer is told first (HAProxy asks; nginx finds out by
        # the 503 that a request gets... so for nginx the port simply closes and the next one is tried).
        time.sleep(1)
        assert cluster.instances[1].stop() == 0
        time.sleep(1)
        if server.kind == "haproxy":
            assert failed == []
        calm = len(failed)
        cluster.instances[2].kill()
        time.sleep(4)
        broken = len(failed)
        assert broken - calm <= 3, "at most what was on its way in each of the three clients"
        time.sleep(3)
        assert failed[broken:] == []
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert min(served) > 20
    assert not [fault for fault in failed if fault.startswith("read")], failed
    for instance in cluster.instances[1:]:
        instance.start()


def test_check_names_who_is_missing(balanced: tuple[Cluster, BalancerServer, httpx.Client]) -> None:
    cluster, server, _ = balanced
    port = free_port()
    first = cluster.instances[0]
    text = KINDS[server.kind](
        Balancer(f"http://127.0.0.1:{port}", [i.url for i in cluster.instances[:2]], bind=f"127.0.0.1:{port}")
    )
    other = BalancerServer(server.kind, port)
    try:
        other.start(text)
        first.environment["SEAWALL_EXTERNAL_URL"] = f"http://127.0.0.1:{port}"
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200)
        time.sleep(2.5)
        report = check(cluster)
        assert "balancer" in kinds(report)
        fault = next(f for f in report["faults"] if f["kind"] == "balancer")
        assert fault["instances"] == [cluster.instances[2].url]
        other.stop()
        fault = next(f for f in check(cluster)["faults"] if f["kind"] == "balancer")
        assert "ConnectError" in fault["message"]
    finally:
        other.close()
