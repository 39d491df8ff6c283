"""The image: built offline from the bundle, not root, read-only root, stamped; and the compose files."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.processes import PASSWORD, ROOT, free_port

# Making a whole Debian and a bundle takes a while on a busy machine.
pytestmark = pytest.mark.timeout(900)

IMAGE = "localhost/seawall:test"
REVISION = "0123456789abcdef0123456789abcdef01234567"


class Engine:
    """podman and buildah with a store of their own."""

    def __init__(self, folder: Path) -> None:
        store = [
            "--root",
            str(folder / "store"),
            "--runroot",
            str(folder / "run"),
            "--storage-driver",
            "overlay",
        ]
        self._podman = ["podman", *store, "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        # Without a network: the build must not need one.
        self._buildah = ["unshare", "--net", "buildah", *store]

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Run podman."""
        return self._run([*self._podman, *arguments], check)

    def buildah(self, *arguments: str) -> str:
        """Run buildah."""
        return self._run([*self._buildah, *arguments], True)

    def _run(self, command: list[str], check: bool) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def engine(bundle: Path, debian: Path) -> Iterator[Engine]:
    # podman takes no long paths.
    folder = Path(tempfile.mkdtemp(prefix="sw-"))
    made = Engine(folder)
    try:
        context = folder / "bundle"
        context.mkdir()
        subprocess.run(
            ["tar", "xzf", str(bundle), "-C", str(context), "--strip-components=1"], check=True, timeout=60
        )
        made.podman("import", "-q", str(debian), "localhost/base")
        made.buildah(
            "bud", "-q", "--isolation", "chroot", "--network", "host", "--format", "docker", "-t", IMAGE,
            "--build-arg", "BASE=localhost/base", "--build-arg", "VERSION=9.9.9",
            "--build-arg", f"REVISION={REVISION}", "-f", str(context / "deploy/docker/Dockerfile"),
            str(context),
        )  # fmt: skip
        yield made
    finally:
        made.podman("rmi", "--all", "--force", check=False)
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def test_image_is_stamped_and_not_root(engine: Engine) -> None:
    (told,) = json.loads(engine.podman("image", "inspect", IMAGE))
    labels = told["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "9.9.9"
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert told["Config"]["User"] == "10001:10001"
    assert told["Healthcheck"]


# What a container runtime does with `read_only` and a user, done by hand: runtimes do not start in every
# sandbox that runs these tests.
_ENTER = """
set -e
mount --bind {root} {root}
mount -o remount,bind,ro {root}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs -o mode=1777 tmpfs {root}/tmp
mount -t tmpfs -o mode=1777 tmpfs {root}/var/lib/seawall
exec chroot --userspec=10001:10001 {root} /usr/bin/env -i {environment} {command}
"""


def test_it_serves_with_a_read_only_root(engine: Engine) -> None:
    (told,) = json.loads(engine.podman("image", "inspect", IMAGE))
    config = told["Config"]
    port = free_port()
    settings = [f"SEAWALL_ADMIN_PASSWORD={PASSWORD}", "SEAWALL_HTTP__WORKERS=1", f"SEAWALL_HTTP__PORT={port}"]
    root = engine.podman("image", "mount", IMAGE).strip()
    script = _ENTER.format(
        root=root,
        environment=shlex.join([*config["Env"], *settings]),
        command=shlex.join([*config["Entrypoint"], *config["Cmd"]]),
    )
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        with httpx.Client() as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                        break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t10001\t10001" in status
        sbom = json.loads(Path(root, "usr/share/seawall/sbom.cdx.json").read_text())
        assert sbom["bomFormat"] == "CycloneDX"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        engine.podman("image", "unmount", IMAGE, check=False)


def test_compose_stack() -> None:
    """Every instance is alike, shares the services, and needs no more rights than it should."""
    text = (ROOT / "deploy/docker/compose.yml").read_text()
    stack: dict[str, Any] = yaml.safe_load(text)["services"]
    cores = [service for name, service in stack.items() if name.startswith("seawall-")]
    assert len(cores) == 3
    assert all(service == cores[0] for service in cores)
    for service in [*cores, stack["jobservice"]]:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["environment"]["SEAWALL_JOBS__EMBEDDED"] == "false"
    known = set(stack)
    for service in stack.values():
        assert set(service.get("depends_on", ())) <= known


def test_compose_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the compose file gives is what Seawall's loader takes."""
    from seawall.infra.loading import load

    stack = yaml.safe_load((ROOT / "deploy/docker/compose.yml").read_text())["services"]
    for name, value in stack["seawall-1"]["environment"].items():
        if not name.startswith("SEAWALL_"):
            continue
        text = str(value)
        if text.startswith("${"):
            text = text.partition(":-")[2].rstrip("}") or "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        monkeypatch.setenv(name, text)
    settings = load(None)
    assert settings.redis.configured
    assert settings.database.url
    assert settings.http.trusted_proxies


def test_balancer_configuration(tmp_path: Path) -> None:
    text = (ROOT / "deploy/docker/haproxy.cfg").read_text()
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(ROOT / "deploy/docker/haproxy.cfg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stack = yaml.safe_load((ROOT / "deploy/docker/compose.yml").read_text())["services"]
    for name in (name for name in stack if name.startswith("seawall-")):
        assert f"server {name} {name}:8080" in text


def podman_compose(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "podman-compose"), *words],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_compose_file_as_an_engine_reads_it() -> None:
    """podman-compose, the program: what it makes of the file, and which settings it insists on."""
    folder = ROOT / "deploy/docker"
    needed = {"SEAWALL_PASSWORD": "a-Password-1", "MASTER_KEY": "MDEy", "DATABASE_PASSWORD": "b"}
    for name in needed:
        rest = {key: value for key, value in needed.items() if key != name}
        refused = podman_compose(folder, "-f", "compose.yml", "config", **rest)
        assert refused.returncode != 0
        assert f"required variable {name} is missing" in refused.stderr
    read = podman_compose(folder, "-f", "compose.yml", "config", **needed)
    assert read.returncode == 0, read.stderr
    merged = yaml.safe_load(read.stdout)["services"]
    written = yaml.safe_load((folder / "compose.yml").read_text())["services"]
    assert merged.keys() == written.keys()
    assert "${" not in read.stdout
    environment = merged["seawall-2"]["environment"]
    assert environment["SEAWALL_ADMIN_PASSWORD"] == "a-Password-1"
    for name, service in merged.items():
        needs = service.get("depends_on", {})
        assert set(needs) <= set(merged), name
