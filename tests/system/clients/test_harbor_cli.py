"""`harbor-cli` (PyPI, 0.3.0), the program itself, against a started server.

It wants older libraries than the tests do, so it is installed into a virtual environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_pusher import Pusher
from tests.support.processes import PASSWORD, ROOT
from tests.support.registry import Registry
from tests.support.waiting import until

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def program() -> Path:
    """The `harbor` program; installed once for this environment."""
    place = Path(sys.prefix) / "harbor-cli"
    if not (place / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "harbor-cli==0.3.0", "click<8.2"], check=True, timeout=300)
        (place / "done").touch()
    return place / "bin" / "harbor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("harborcli") / "data", {"SEAWALL_GC__GRACE_MINUTES": "0"})
    registry.start()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def driver(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The program, imported once."""
    # With these set it takes itself to be without a user, and deletes nothing.
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "DEBIAN_FRONTEND")}
    home = str(tmp_path_factory.mktemp("home"))
    process = subprocess.Popen(
        [
            str(program.with_name("python")),
            str(ROOT / "tests/support/harbor/cli_driver.py"),
            "harbor_cli.main:main",
        ],
        env={**kept, "HOME": home, "XDG_CONFIG_HOME": home, "NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()  # type: ignore[union-attr]
    process.wait(10)


@pytest.fixture
def harbor(driver: subprocess.Popen[str], server: Registry, tmp_path: Path) -> Run:
    """Runs a command, which must succeed; returns the JSON it prints, or its text."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[harbor]\nurl = "{server.url}/api/v2.0"\nusername = "admin"\nsecret = "{PASSWORD}"\n'
        "[general]\nconfirm_deletion = false\nconfirm_enumeration = false\nwarnings = false\n"
        '[output]\nformat = "json"\n'
    )

    def run(*words: str, ok: bool = True) -> Any:
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(json.dumps(["--config", str(config), *words]) + "\n")
        driver.stdin.flush()
        done = json.loads(driver.stdout.readline())
        out, err = done["stdout"], done["stderr"]
        assert (done["status"] == 0) == ok, f"{words}: {out[-1500:]} {err[-1500:]}"
        try:
            return json.loads(out)
        except ValueError:
            return out + err

    return run


def test_a_life(harbor: Run, server: Registry) -> None:
    harbor("project", "create", "demo", "--public", "false", "--storage-limit", str(10**9))
    assert harbor("project", "exists", "demo")
    assert harbor("project", "get", "demo")["metadata"]["public"] in ("false", False)
    harbor("project", "update", "demo", "--public", "true")
    assert {item["name"] for item in harbor("project", "list")} == {"library", "demo"}
    person = ("--password", PASSWORD, "--email", "a@x.test", "--realname", "Alice")
    harbor("user", "create", "alice", *person)
    assert "alice" in {item["username"] for item in harbor("user", "list")}
    harbor("project", "member", "add-user", "demo", "alice", "developer")
    members = {item["entity_name"]: item["role_id"] for item in harbor("project", "member", "list", "demo")}
    assert members == {"admin": 1, "alice": 2}
    pusher = Pusher(server)
    digest = pusher.image("demo/app", "v1")
    pusher.image("demo/app", "v2")
    listed = harbor("artifact", "list", "--project", "demo")
    assert len(listed) == 2
    harbor("artifact", "tag", "create", "demo/app:v1", "stable")
    assert {item["name"] for item in harbor("artifact", "tag", "list", "demo/app:v1")} == {"v1", "stable"}
    assert digest in json.dumps(harbor("artifact", "get", "demo/app:stable"))
    harbor("artifact", "delete", "demo/app:v2")
    assert len(harbor("artifact", "list", "--project", "demo")) == 1
    assert harbor("repository", "list", "demo")[0]["artifact_count"] == 1
    assert harbor("quota", "list")
    assert harbor("search", "demo")["repository"]
    until(
        lambda: {item["status"] for item in harbor("system", "health")["components"]} == {"healthy"},
        "healthy",
    )
    assert harbor("system", "info")["auth_mode"] == "db_auth"
    assert harbor("auditlog", "list", "--limit", "3")
    harbor("gc", "schedule", "create", "--type", "Manual")
    deadline = time.monotonic() + 60
    while harbor("gc", "jobs", "--limit", "1")[0]["job_status"] != "Success":
        assert time.monotonic() < deadline
    harbor("repository", "delete", "demo", "app")
    harbor("user", "set-admin", "alice")
    harbor("user", "delete", "alice")
    harbor("project", "delete", "demo")
    assert {item["name"] for item in harbor("project", "list")} == {"library"}
