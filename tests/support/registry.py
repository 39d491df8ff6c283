"""A real Seawall server on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support import forked
from tests.support.databases import with_schema
from tests.support.processes import PASSWORD, SEAWALL, clean_environment, free_port, listening
from tests.support.waiting import until


class Registry:
    """A started Seawall server and its management commands."""

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.admin = ("admin", PASSWORD)
        # One server process, which takes less time to start: the registry that most tests share has two.
        self.environment = clean_environment(
            **{"SEAWALL_HTTP__WORKERS": "1", **(settings or {})},
            SEAWALL_DATA_DIR=str(data_dir),
            SEAWALL_ADMIN_PASSWORD=PASSWORD,
        )
        # A first start finds a migrated database: to make one takes most of its processor time. False: it
        # finds nothing, as an operator's does.
        self.migrated = True
        # Goes before the server's command, such as `unshare --mount`.
        self.prefix: list[str] = []
        self.process: subprocess.Popen[bytes] | forked.Forked | None = None
        self.log = data_dir.parent / f"{data_dir.name}.log"

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the server. Not in a thread that ends: the server ends with the thread that started it."""
        if self._starts_embedded() and not self.data_dir.exists() and self.data_dir.parent.is_dir():
            self.data_dir.mkdir(mode=0o700)
            with_schema(f"sqlite:///{self.data_dir / 'seawall.db'}")
        # A group of its own, so that kill() reaches the server's worker processes as a power cut would.
        command = ["serve", "--port", str(self.port)]
        with self.log.open("ab") as output:
            if not self.prefix:
                self.process = forked.started(
                    command, self.environment, self.data_dir.parent, output.fileno()
                )
                return
            self.process = subprocess.Popen(
                # A test run that is killed takes its servers along.
                [*self.prefix, "setpriv", "--pdeathsig", "TERM", *SEAWALL, *command],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.data_dir.parent,
            )

    def _starts_embedded(self) -> bool:
        """Whether a first start would make the SQLite database of the data directory."""
        elsewhere = {"SEAWALL_DATABASE__URL", "SEAWALL_CONFIG", "SEAWALL_DR__SITE"}
        mine = self.environment.get("SEAWALL_DATA_DIR") == str(self.data_dir)
        return self.migrated and not self.prefix and mine and not elsewhere & set(self.environment)

    def wait_ready(self) -> None:
        """Wait until the launched server is ready."""
        assert self.process is not None
        scheme_client = httpx.Client(verify=False)
        # A machine that does much else takes a minute to start one.
        deadline = time.monotonic() + 240
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
        # Workers are not our children: that they have ended is seen at the port, which the next start wants.
        until(lambda: not listening(self.port))

    def close(self) -> None:
        """End the server at the end of a test, if it runs."""
        if self.process is not None:
            self.kill()

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
        return forked.run(
            *arguments, environment=self.environment, cwd=self.data_dir.parent, stdin=stdin, timeout=120
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
