"""Fixtures: a real PostgreSQL, and real Seawall servers on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import seawall.process.tables  # noqa: F401 - every table is declared in the tests too
from tests.servers.postgres import PostgresPair
from tests.servers.swift import SwiftServer

PASSWORD = "Seawall-12345"
SEAWALL = [sys.executable, "-m", "seawall"]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without Seawall settings, plus `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEAWALL_", "PROMETHEUS_"))}
    return {**kept, **extra}


class Registry:
    """A started Seawall server and its management commands."""

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.admin = ("admin", PASSWORD)
        self.environment = clean_environment(
            SEAWALL_DATA_DIR=str(data_dir), SEAWALL_ADMIN_PASSWORD=PASSWORD, **(settings or {})
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data_dir.parent / f"{data_dir.name}.log"

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the server. Not in a thread that ends: the server ends with the thread that started it."""
        # A group of its own, so that kill() reaches the server's worker processes as a power cut would.
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                # A test run that is killed takes its servers along.
                ["setpriv", "--pdeathsig", "TERM", *SEAWALL, "serve", "--port", str(self.port)],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.data_dir.parent,
            )

    def wait_ready(self) -> None:
        """Wait until the launched server is ready."""
        assert self.process is not None
        scheme_client = httpx.Client(verify=False)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if scheme_client.get(f"{self.url}/readyz").status_code == 200:
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError("server did not become ready: " + self.log.read_text())

    def kill(self) -> None:
        """kill -9 the server and every worker at once."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """SIGTERM, wait; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    def cli(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a `seawall` command on this server's data."""
        return subprocess.run(
            [*SEAWALL, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.data_dir.parent,
        )

    def _must(self, *arguments: str, stdin: str = "") -> None:
        done = self.cli(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the management API as the administrator; fails on an error answer."""
        url = f"{self.url}/api/v2.0{path}"
        answer = httpx.request(method, url, auth=self.admin, verify=False, timeout=60, **arguments)
        assert answer.is_success, answer.text
        return answer

    def create_project(self, name: str, public: bool = False) -> None:
        """Add a project, over the API where the server runs (a command costs a second of processor time)."""
        if self.process is None or "SEAWALL_AUTH__MODE" in self.environment:
            self._must("project", "create", name, *(["--public"] if public else []))
        else:
            self.api(
                "POST", "/projects", json={"project_name": name, "metadata": {"public": str(public).lower()}}
            )

    def create_user(self, username: str, password: str) -> None:
        """Add a user."""
        if self.process is None:
            self._must("user", "create", username, stdin=password + "\n")
        else:
            person = {"username": username, "email": f"{username}@example.test", "realname": username}
            self.api("POST", "/users", json={**person, "password": password})

    def add_member(self, project: str, username: str, role: str) -> None:
        """Give a user a role."""
        if self.process is None:
            self._must("project", "member", project, username, role)
        else:
            number = {"projectAdmin": 1, "developer": 2, "guest": 3, "maintainer": 4, "limitedGuest": 5}[role]
            member = {"role_id": number, "member_user": {"username": username}}
            self.api("POST", f"/projects/{project}/members", json=member)


class Postgres:
    """A PostgreSQL server of the tests' own, on loopback, with data that go away afterwards."""

    def __init__(self, root: Path) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert binaries, "PostgreSQL is not installed; run .ci/packages.sh"
        self.bin = binaries[-1]
        self.root = root
        self.port = free_port()

    def _as_postgres(self, *command: str) -> None:
        # PostgreSQL refuses to run as root.
        prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        """Make a cluster and start it."""
        if os.getuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        data = str(self.root / "data")
        self._as_postgres(str(self.bin / "initdb"), "-D", data, "-A", "trust", "-U", "seawall", "-E", "UTF8")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.root}"
        self._as_postgres(
            str(self.bin / "pg_ctl"), "-D", data, "-o", options, "-l", f"{data}.log", "-w", "start"
        )

    def stop(self) -> None:
        """Stop the server."""
        self._as_postgres(str(self.bin / "pg_ctl"), "-D", str(self.root / "data"), "-m", "immediate", "stop")

    def database(self, template: str = "template1") -> str:
        """URL of a new database: empty, or a copy of one that nobody uses."""
        name = f"t{secrets.token_hex(6)}"
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "seawall", "-T", template)
        self._as_postgres(str(self.bin / "createdb"), *where, name)
        return f"postgresql://seawall@127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the test run."""
    root = Path(tempfile.mkdtemp(prefix="seawall-pg-"))
    root.chmod(0o755)
    server = Postgres(root)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SwiftServer]:
    """One real S3 server (OpenStack Swift) for the test run; tests take a bucket each."""
    server = SwiftServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_pair() -> Iterator[PostgresPair]:
    """A primary and its synchronous streaming replica, of one test's own since it will break them."""
    pair = PostgresPair()
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment that chooses the metadata database: every test using it runs on both."""
    if request.param == "sqlite":
        return {}
    server: Any = request.getfixturevalue("postgres")
    return {"SEAWALL_DATABASE__URL": server.database()}


@pytest.fixture(scope="session")
def registry(
    database_settings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Registry]:
    """A running registry with authentication, shared by the tests of a run (per database).

    `SEAWALL_TEST_STORAGE=s3` runs every test that uses it on S3 instead of the filesystem.
    """
    settings = dict(database_settings)
    if os.environ.get("SEAWALL_TEST_STORAGE") == "s3":
        s3: SwiftServer = request.getfixturevalue("s3_server")
        settings |= s3.settings(s3.bucket())
    server = Registry(tmp_path_factory.mktemp("registry") / "data", settings)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


@pytest.fixture
def fresh_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry (SQLite) of one test's own, not yet started."""
    server = Registry(tmp_path / "data")
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()
