"""`core.accelerate` of the chart: nginx in each core pod, run for real with the rendered configuration."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.deploy.helm import Helm, Objects
from tests.support.digests import digest_of
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.waiting import until

DATA = os.urandom(2 * 1024 * 1024 + 5)
DIGEST = digest_of(DATA)
URL = f"/v2/library/app/blobs/{DIGEST}"
VALUES: dict[str, Any] = {
    "externalURL": "https://registry.example.com",
    "core": {"accelerate": {"enabled": True}},
    "trustedProxies": ["127.0.0.9"],
}


def rendered(helm: Helm, folder: Path, values: dict[str, Any]) -> Objects:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return helm.objects("-f", str(file))


def test_the_pod(helm: Helm, tmp_path: Path) -> None:
    found = rendered(helm, tmp_path, {**VALUES, "networkPolicy": {"enabled": True}})
    assert found.config()["http"]["accelerate"] == "nginx"
    assert found.config()["http"]["trusted_proxies"] == ["127.0.0.9", "127.0.0.1"]
    core, nginx = found.pod("core")["containers"]
    assert [port["name"] for port in core["ports"]] == ["core"]
    assert [port["name"] for port in nginx["ports"]] == ["http"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert core[probe]["httpGet"]["port"] == "core"
    # Services lead to nginx, which sees the files and cannot change them.
    assert {port["targetPort"] for port in found.one("Service")["spec"]["ports"]} == {"http"}
    (files,) = [mount for mount in nginx["volumeMounts"] if mount["name"] == "registry"]
    assert files["readOnly"]
    assert files["mountPath"] == found.config()["storage"]["root"]
    volumes = {volume["name"] for volume in found.pod("core")["volumes"]}
    assert {mount["name"] for mount in nginx["volumeMounts"]} <= volumes
    policy = found.one("NetworkPolicy", "core")["spec"]["ingress"][0]["ports"]
    assert [port["port"] for port in policy] == ["http", "core"]


def test_without_it_there_is_no_nginx(helm: Helm, tmp_path: Path) -> None:
    found = rendered(helm, tmp_path, {"externalURL": "https://registry.example.com"})
    assert len(found.pod("core")["containers"]) == 1
    assert "accelerate" not in found.config()["http"]
    assert "nginx.conf" not in found.one("ConfigMap")["data"]


def test_an_object_store_needs_none(helm: Helm, tmp_path: Path) -> None:
    store = {"type": "s3", "s3": {"bucket": "b"}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({**VALUES, "persistence": {"imageChartStorage": store}}))
    refused = helm.refusal("-f", str(file))
    assert "core.accelerate.enabled is for imageChartStorage.type filesystem" in refused


class Running:
    """A registry with the rendered settings, and nginx before it with the rendered configuration."""

    def __init__(self, folder: Path, found: Objects) -> None:
        self.port = free_port()
        http = found.config()["http"]
        self.registry = Registry(
            folder / "data",
            {
                "SEAWALL_EXTERNAL_URL": f"http://127.0.0.1:{self.port}",
                "SEAWALL_HTTP__TRUSTED_PROXIES": ",".join(http["trusted_proxies"]),
                "SEAWALL_HTTP__ACCELERATE": http["accelerate"],
                "SEAWALL_LOG__ACCESS": "true",
            },
        )
        text = found.one("ConfigMap")["data"]["nginx.conf"]
        # What a pod gives: ports, the volume, /tmp, and one user for both containers.
        for there, here in (
            # First: the others bring paths of their own.
            ("/tmp/", f"{folder}/tmp-"),
            ("8081", f"127.0.0.1:{self.port}"),
            ("127.0.0.1:8080", self.registry.host),
            (found.config()["storage"]["root"], str(self.registry.data_dir / "blobs")),
        ):
            assert there in text
            text = text.replace(there, here)
        self.file = folder / "nginx.conf"
        self.file.write_text(f"user root;\n{text}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start both, and push a blob."""
        self.registry.start()
        self.process = subprocess.Popen(["nginx", "-c", str(self.file), "-e", "stderr"])
        until(lambda: socket.create_connection(("127.0.0.1", self.port), 1), ignoring=(OSError,)).close()
        with self.client() as client:
            query = {"digest": DIGEST}
            posted = client.post("/v2/library/app/blobs/uploads/", params=query, content=DATA)
        assert posted.status_code == 201, posted.text

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """Of nginx, from an address."""
        transport = httpx.HTTPTransport(local_address=address)
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, auth=self.registry.admin, timeout=60, transport=transport)

    def sent(self) -> float:
        """Bytes of blobs that the registry itself has sent; metrics are not hidden inside a cluster."""
        with self.client() as client:
            text = client.get("/metrics").raise_for_status().text
        found = re.search(
            r'^seawall_http_sent_bytes_total\{route="/v2/\*/blobs"\} (\S+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    def close(self) -> None:
        """End both."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        self.registry.close()


@pytest.fixture
def running(helm: Helm, tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, rendered(helm, tmp_path, {**VALUES, "expose": {"type": "ingress"}}))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_nginx_sends_the_blobs(running: Running) -> None:
    before = running.sent()
    with running.client() as client:
        whole = client.get(URL, headers={"X-Seawall-Accelerate": "haproxy"})
        part = client.get(URL, headers={"Range": "bytes=5-9"})
        hidden = client.get("/_seawall/files/blobs/x")
    assert (whole.status_code, whole.content) == (200, DATA)
    assert whole.headers["Docker-Content-Digest"] == DIGEST
    assert (part.status_code, part.content) == (206, DATA[5:10])
    assert hidden.status_code in (401, 404)
    assert running.sent() == before, "the registry has sent bytes itself"


def test_only_trusted_proxies_are_believed(running: Running) -> None:
    """An ingress says who its client is; who comes past it does not."""

    def logged(by: str) -> str | None:
        lines = [line for line in running.registry.log.read_text().splitlines() if by in line]
        assert len(lines) <= 1, lines
        return lines[0] if lines else None

    said = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test"}
    for address, seen in (("127.0.0.9", "192.0.2.7"), ("127.0.0.5", "127.0.0.5")):
        with running.client(address) as client:
            answer = client.get("/v2/", headers={**said, "X-Request-Id": f"from-{address}"})
        assert answer.status_code == 200
        # The line follows the answer.
        line = until(partial(logged, f'"from-{address}"'))
        assert f'"client": "{seen}"' in line


def test_tls_inside_the_cluster(helm: Helm, tmp_path: Path) -> None:
    """nginx has the same certificate as core, and speaks TLS to it."""
    found = rendered(helm, tmp_path, {**VALUES, "internalTLS": {"enabled": True}})
    text = found.one("ConfigMap")["data"]["nginx.conf"]
    assert "listen 8081 ssl;" in text
    assert set(re.findall(r"proxy_pass (\w+)://seawall", text)) == {"https"}
    tls = [mount for mount in found.pod("core")["containers"][1]["volumeMounts"] if mount["name"] == "tls"]
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    made = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=core -keyout {key} -out {certificate}"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    file = tmp_path / "nginx.conf"
    file.write_text(text.replace("/tmp/", f"{tmp_path}/x-").replace(tls[0]["mountPath"], str(tmp_path)))
    checked = subprocess.run(["nginx", "-t", "-c", str(file), "-e", "stderr"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
