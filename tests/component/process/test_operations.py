"""Running it: TLS, drain, restart, health, metrics, logs, settings, the command line."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seawall import __version__
from tests.support import forked
from tests.support.processes import PASSWORD, clean_environment
from tests.support.registry import Registry
from tests.support.waiting import until


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server = Registry(
        tmp_path / "data", {"SEAWALL_HTTP__TLS_CERTIFICATE": str(cert), "SEAWALL_HTTP__TLS_KEY": str(key)}
    )
    server.url = f"https://{server.host}"
    server.start()
    try:
        with httpx.Client(verify=ssl.create_default_context(cafile=str(cert))) as client:
            assert client.get(f"{server.url}/readyz").status_code == 200
            challenge = client.get(f"{server.url}/v2/").headers["WWW-Authenticate"]
            assert f'realm="{server.url}/service/token"' in challenge
            data = os.urandom(300_000)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            url = f"{server.url}/v2/library/tls/blobs"
            sent = client.post(f"{url}/uploads/", params={"digest": digest}, content=data, auth=server.admin)
            assert sent.status_code == 201
            assert client.get(f"{url}/{digest}").content == data
    finally:
        server.close()


def test_drain_finishes_a_push_in_flight(fresh_registry: Registry) -> None:
    fresh_registry.start()
    data = os.urandom(600_000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    begun = threading.Event()
    answers: list[httpx.Response] = []

    def slow() -> Iterator[bytes]:
        for at in range(0, len(data), 100_000):
            yield data[at : at + 100_000]
            begun.set()
            time.sleep(0.4)

    def push() -> None:
        answers.append(
            httpx.post(
                f"{fresh_registry.url}/v2/library/drain/blobs/uploads/",
                params={"digest": digest},
                content=slow(),
                headers={"Content-Length": str(len(data))},
                auth=fresh_registry.admin,
                timeout=60,
            )
        )

    thread = threading.Thread(target=push)
    thread.start()
    assert begun.wait(30)
    time.sleep(0.3)
    assert fresh_registry.process is not None
    fresh_registry.process.send_signal(signal.SIGTERM)
    thread.join(60)
    assert answers[0].status_code == 201
    assert fresh_registry.process.wait(60) == 0
    fresh_registry.process = None
    fresh_registry.start()
    answer = httpx.get(f"{fresh_registry.url}/v2/library/drain/blobs/{digest}")
    assert answer.content == data


def test_upload_sessions_survive_a_restart(fresh_registry: Registry) -> None:
    fresh_registry.start()
    first, second = os.urandom(200_000), os.urandom(100_000)
    with httpx.Client(auth=fresh_registry.admin) as client:
        location = client.post(f"{fresh_registry.url}/v2/library/s/blobs/uploads/").headers["Location"]
        path = httpx.URL(client.patch(location, content=first).headers["Location"]).path
        assert fresh_registry.stop() == 0
        fresh_registry.start()
        url = fresh_registry.url + path
        assert client.get(url).headers["Range"] == f"0-{len(first) - 1}"
        assert client.patch(url, content=second).status_code == 202
        digest = "sha256:" + hashlib.sha256(first + second).hexdigest()
        assert client.put(url, params={"digest": digest}).status_code == 201
        assert client.get(f"{fresh_registry.url}/v2/library/s/blobs/{digest}").content == first + second


def test_first_start_prints_a_password_once(fresh_registry: Registry) -> None:
    del fresh_registry.environment["SEAWALL_ADMIN_PASSWORD"]
    fresh_registry.start()
    # It comes once the server serves, so a moment after that may pass.
    until(lambda: "password:" in fresh_registry.log.read_text(), "the password of admin")
    shown = [line for line in fresh_registry.log.read_text().splitlines() if "password:" in line]
    assert len(shown) == 1
    password = shown[0].split("password: ")[1].split()[0]
    answer = httpx.get(f"{fresh_registry.url}/v2/", auth=("admin", password))
    assert answer.status_code == 200
    assert f"{fresh_registry.url}" in fresh_registry.log.read_text()
    fresh_registry.stop()
    fresh_registry.start()
    text = fresh_registry.log.read_text()
    assert text.count("password:") == 1
    assert text.count(password) == 1


def test_health_metrics_and_logs(registry: Registry) -> None:
    assert httpx.get(f"{registry.url}/healthz").json()["version"] == __version__
    ready = httpx.get(f"{registry.url}/readyz")
    assert ready.status_code == 200
    answer = httpx.get(
        f"{registry.url}/v2/library/nothing/tags/list",
        headers={"X-Request-Id": "test-request-77"},
        auth=registry.admin,
    )
    assert answer.headers["X-Request-Id"] == "test-request-77"
    metrics = httpx.get(f"{registry.url}/metrics").text
    assert 'seawall_http_requests_total{method="GET",route="/v2/*/tags/list",status="404"}' in metrics
    until(lambda: "test-request-77" in registry.log.read_text())
    line = next(line for line in registry.log.read_text().splitlines() if "test-request-77" in line)
    entry = json.loads(line)
    assert (entry["status"], entry["method"]) == (404, "GET")
    assert PASSWORD not in registry.log.read_text()


def test_not_ready_without_storage(fresh_registry: Registry) -> None:
    # A job runner that starts late would make the directory again.
    fresh_registry.environment["SEAWALL_JOBS__EMBEDDED"] = "false"
    fresh_registry.environment["SEAWALL_HTTP__WORKERS"] = "1"
    fresh_registry.start()
    uploads = fresh_registry.data_dir / "blobs" / "uploads"
    uploads.rename(uploads.with_name("away"))
    # A fault that passes does not take an instance out of service, one that lasts does.
    assert wait_for_status(fresh_registry, 503).json()["checks"]["storage"] != "ok"
    uploads.with_name("away").rename(uploads)
    wait_for_status(fresh_registry, 200)


def wait_for_status(server: Registry, status: int) -> httpx.Response:
    """The first answer of /readyz with that status."""

    def there() -> httpx.Response | None:
        answer = httpx.get(f"{server.url}/readyz", timeout=30)
        return answer if answer.status_code == status else None

    return until(there)


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, environment=clean_environment(**environment), cwd=cwd, timeout=60)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("http: {port: 70000}", "http.port"),
        ("http: {prot: 80}", "http.prot"),
        ("nonsense: 1", "nonsense"),
        ("external_url: ftp://x", "external_url"),
        ("database: {url: mysql://x}", "database.url"),
        ("http: {tls_key: /x}", "http"),
        ("- a list", "mapping"),
        ("a: [", "line"),
    ],
)
def test_bad_settings_are_one_line(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "seawall.yml").write_text(text)
    done = run("config", "check", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("seawall: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


def test_settings_by_strength(tmp_path: Path) -> None:
    (tmp_path / "seawall.yml").write_text("http: {port: 1111, workers: 3}\nlog: {level: error}\n")
    done = run("config", "check", cwd=tmp_path, SEAWALL_HTTP__PORT="2222", SEAWALL_ADMIN_PASSWORD=PASSWORD)
    shown = json.loads(done.stdout)
    assert (shown["http"]["port"], shown["http"]["workers"], shown["log"]["level"]) == (2222, 3, "error")
    assert PASSWORD not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "delete", "nobody"),
        ("project", "member", "none", "admin", "guest"),
        ("project", "create", "Not Valid"),
        ("project", "member", "library", "admin", "emperor"),
    ],
)
def test_cli_errors_are_one_line(registry: Registry, arguments: tuple[str, ...]) -> None:
    done = registry.cli(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("seawall: ")
    assert done.stderr.count("\n") == 1


def test_cli_lists(registry: Registry) -> None:
    name = f"cli-{os.urandom(3).hex()}"
    registry.create_user(name, PASSWORD)
    registry.create_project(name, public=True)
    assert name in registry.cli("user", "list").stdout
    assert name in registry.cli("project", "list").stdout
    assert registry.cli("version").stdout.strip().endswith(__version__)
    assert registry.cli("user", "delete", name).returncode == 0
    assert name not in registry.cli("user", "list").stdout


def test_commands_leave_prometheus_to_the_servers() -> None:
    # Imported before the server says where its processes meet, /metrics would be empty.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, seawall.process.commands.main; sys.exit('prometheus_client' in sys.modules)",
        ]
    )
    assert done.returncode == 0
