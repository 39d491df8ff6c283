"""The docker CLI with an engine of its own: unix socket, vfs, no bridge, no iptables.

The loopback range is an insecure registry for docker without being told, so plain HTTP works.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.oci.client import Client, unique
from tests.support.oci.clients import Shell, Team

PROGRAMS = ("docker", "dockerd")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start dockerd; gives the socket's address. Stopped by its own pid, with its containerd."""
    folder = tmp_path_factory.mktemp("d")
    socket = f"unix://{folder}/d.sock"
    (folder / "config.json").write_text("{}")  # not the machine's own
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "dockerd", "--storage-driver", "vfs", "--bridge", "none", "--iptables=false",
                "--ip-masq=false",
                "-H", socket, "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
                "--pidfile", str(folder / "pid"), "--config-file", str(folder / "config.json"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        for _ in range(150):
            if "API listen on" in (folder / "log").read_text():
                break
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield socket
    finally:
        process.terminate()
        process.wait(timeout=30)


class Docker:
    """`docker` bound to the engine."""

    def __init__(self, shell: Shell, socket: str) -> None:
        self.shell = shell
        self.command = ["docker", "--host", socket]
        # The classic builder needs no buildx plugin.
        shell.env["DOCKER_BUILDKIT"] = "0"

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> str:
        return self.shell(*self.command, *arguments, stdin=stdin)

    def refused(self, *arguments: str | Path, stdin: str | None = None) -> str:
        return self.shell.refused(*self.command, *arguments, stdin=stdin)

    def build(self, tag: str) -> str:
        folder = self.shell.home / unique("context")
        folder.mkdir()
        text = unique("text")
        (folder / "file.txt").write_text(text)
        (folder / "Dockerfile").write_text('FROM scratch\nCOPY file.txt /file.txt\nCMD ["/none"]\n')
        self("build", "-t", tag, folder)
        return text

    def login(self, team: Team, user: tuple[str, str]) -> None:
        self("login", "-u", user[0], "--password-stdin", team.registry.host, stdin=user[1])


@pytest.fixture
def docker(shell: Shell, engine: str) -> Docker:
    return Docker(shell, engine)


def test_build_push_pull(docker: Docker, team: Team, admin: Client, tmp_path: Path) -> None:
    name = team.name("docker/built:v1")
    text = docker.build(name)
    docker.login(team, team.developer)
    docker("push", name)
    pushed = admin.repo(f"{team.private}/docker/built").head_manifest("v1").headers["Docker-Content-Digest"]
    docker("rmi", name)
    docker("pull", name)
    told = json.loads(docker("image", "inspect", name))
    assert told[0]["RepoDigests"] == [f"{team.name('docker/built')}@{pushed}"]
    container = docker("create", name).strip()
    docker("cp", f"{container}:/file.txt", tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_text() == text
    docker("rm", container)
    docker("pull", f"{team.name('docker/built')}@{pushed}")


def test_second_push_mounts_what_is_there(docker: Docker, team: Team, admin: Client) -> None:
    first, second = team.name("docker/first:v1"), team.name("docker/second:v1")
    docker.build(first)
    docker.login(team, team.developer)
    docker("push", first)
    docker("tag", first, second)
    assert "Mounted from" in docker("push", second)
    digests = {
        admin.repo(f"{team.private}/docker/{name}").head_manifest("v1").headers["Docker-Content-Digest"]
        for name in ("first", "second")
    }
    assert len(digests) == 1


def test_machine_account(docker: Docker, team: Team) -> None:
    name = team.name("docker/machine:v1")
    docker.build(name)
    docker.login(team, team.machine)
    docker("push", name)
    docker("pull", name)


def test_wrong_password(docker: Docker, team: Team) -> None:
    docker.refused("login", "-u", team.stranger[0], "--password-stdin", team.registry.host, stdin="not-it")


def test_private_project_is_closed(docker: Docker, team: Team) -> None:
    name = team.name("docker/closed:v1")
    docker.build(name)
    docker.refused("push", name)
    docker.login(team, team.developer)
    docker("push", name)
    docker("logout", team.registry.host)
    docker("rmi", name)
    docker.refused("pull", name)
    docker.login(team, team.guest)
    docker("pull", name)
    docker("tag", name, team.name("docker/closed:v2"))
    docker.refused("push", team.name("docker/closed:v2"))


def test_public_project_is_open_for_reading(docker: Docker, team: Team) -> None:
    name = team.name("docker/open:v1", public=True)
    docker.build(name)
    docker.login(team, team.developer)
    docker("push", name)
    docker("logout", team.registry.host)
    docker("rmi", name)
    docker("pull", name)
    docker.refused("push", name)
