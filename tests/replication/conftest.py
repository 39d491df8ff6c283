"""Fixtures of the replication tests: Seawalls, Debian's docker-registry, a client of the API."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Registry, free_port
from tests.replication.content import Remote

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: {quiet}}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: '127.0.0.1:{port}', secret: test}}
"""


class DockerRegistry:
    """Debian's docker-registry on loopback."""

    def __init__(self, root: Path, access_log: bool = False) -> None:
        program = shutil.which("docker-registry")
        assert program, "docker-registry is not installed; run .ci/packages.sh"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.root = self._root = root
        self._argv = [program, "serve", str(root / "config.yml")]
        (root / "config.yml").write_text(
            CONFIG.format(root=root / "data", port=self.port, quiet=str(not access_log).lower())
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, expect: int = 200) -> None:
        with (self._root / "log").open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/v2/").status_code == expect:
                    return
            time.sleep(0.05)
        raise AssertionError((self._root / "log").read_text())

    def log(self) -> str:
        return (self._root / "log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    server = DockerRegistry(tmp_path_factory.mktemp("docker-registry"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Another Seawall, on SQLite."""
    server = Registry(tmp_path_factory.mktemp("second") / "data")
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


class Api:
    """The management API of a Seawall, as its administrator."""

    def __init__(self, registry: Registry) -> None:
        self.http = httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=registry.admin, timeout=30)

    def make(self, path: str, body: dict[str, Any]) -> int:
        """POST; the id in the Location."""
        made = self.http.post(path, json=body)
        assert made.status_code == 201, made.text
        return int(made.headers["Location"].rpartition("/")[2])

    def endpoint(self, name: str, url: str, type: str, auth: tuple[str, str] | None = None) -> int:
        """A registry endpoint; the one of that name if it is there."""
        for found in self.http.get("/registries", params={"q": f"name={name}"}).json():
            return int(found["id"])
        credential = {"type": "basic", "access_key": auth[0], "access_secret": auth[1]} if auth else None
        body = {"name": name, "url": url, "type": type, "credential": credential, "insecure": True}
        return self.make("/registries", body)

    def run(self, policy: int) -> dict[str, Any]:
        """Run a policy to its end."""
        return self.wait(self.make("/replication/executions", {"policy_id": policy}))

    def wait(self, execution: int, seconds: float = 90) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self.http.get(f"/replication/executions/{execution}").json()
            if found["status"] != "InProgress":
                return found
            assert time.monotonic() < deadline, (found, self.logs(execution))
            time.sleep(0.1)

    def logs(self, execution: int) -> str:
        """The logs of every task."""
        tasks = self.http.get(f"/replication/executions/{execution}/tasks", params={"page_size": 100}).json()
        return "".join(
            self.http.get(f"/replication/executions/{execution}/tasks/{item['id']}/log").text
            for item in tasks
        )


@pytest.fixture
def api(registry: Registry) -> Api:
    return Api(registry)


@pytest.fixture
def here(registry: Registry) -> Remote:
    return Remote(registry.url, registry.admin)


@pytest.fixture
def there(second: Registry) -> Remote:
    return Remote(second.url, second.admin)


@pytest.fixture
def plain(docker_registry: DockerRegistry) -> Remote:
    return Remote(docker_registry.url)
