"""podman and buildah: build from scratch, push, pull; private and public."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.oci.client import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Client, unique
from tests.support.oci.clients import Shell, Team

PROGRAMS = ("podman", "buildah")


class Box:
    """Both programs on one private image store: vfs, no cgroups, no network, no systemd."""

    def __init__(self, shell: Shell, root: Path) -> None:
        self.shell = shell
        store = ["--root", str(root / "root"), "--runroot", str(root / "run"), "--storage-driver", "vfs"]
        self.podman = ["podman", *store, "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        self.buildah = ["buildah", *store]

    def context(self, name: str, text: str) -> Path:
        folder = self.shell.home / unique("context")
        folder.mkdir()
        (folder / "file.txt").write_text(text)
        (folder / "Containerfile").write_text(f"FROM scratch\nCOPY file.txt /{name}\nLABEL made-by=test\n")
        return folder

    def build(self, tag: str, text: str = "hello\n") -> None:
        folder = self.context("file.txt", text)
        self.shell(*self.buildah, "bud", "--isolation", "chroot", "--network", "host", "-t", tag, folder)


@pytest.fixture
def box(shell: Shell) -> Iterator[Box]:
    # podman takes no run folder with a path longer than 50 characters, so pytest's own will not do.
    with tempfile.TemporaryDirectory(prefix="box-", ignore_cleanup_errors=True) as root:
        made = Box(shell, Path(root))
        yield made
        shell(*made.buildah, "rm", "--all")
        shell(*made.podman, "rmi", "--all", "--force")


def login(box: Box, team: Team, user: tuple[str, str], program: str = "podman") -> None:
    command = box.podman if program == "podman" else box.buildah
    box.shell(
        *command,
        "login",
        "--tls-verify=false",
        "-u",
        user[0],
        "--password-stdin",
        team.registry.host,
        stdin=user[1],
    )


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_build_push_pull(box: Box, team: Team, admin: Client, program: str) -> None:
    name = team.name(f"{program}/built:v1")
    command = box.podman if program == "podman" else box.buildah
    text = unique("text")
    box.build(name, text)
    login(box, team, team.developer, program)
    box.shell(*command, "push", "--tls-verify=false", name)
    box.shell(*command, "rmi", name)
    box.shell(*command, "pull", "--tls-verify=false", name)
    told = json.loads(box.shell(*box.podman, "image", "inspect", name))
    pushed = (
        admin.repo(f"{team.private}/{program}/built").head_manifest("v1").headers["Docker-Content-Digest"]
    )
    assert told[0]["Digest"] == pushed
    assert told[0]["Labels"]["made-by"] == "test"
    # The file came back with what was in it.
    container = box.shell(*box.buildah, "from", "--pull-never", name).strip()
    mounted = box.shell(*box.buildah, "mount", container).strip()
    assert (Path(mounted) / "file.txt").read_text() == text
    box.shell(*box.buildah, "rm", container)


@pytest.mark.parametrize("program", ["podman", "buildah"])
@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_MANIFEST), ("v2s2", DOCKER_MANIFEST)])
def test_push_formats(box: Box, team: Team, admin: Client, program: str, form: str, media_type: str) -> None:
    name = team.name(f"{program}/{form}:v1")
    box.build(name)
    login(box, team, team.developer)
    command = box.podman if program == "podman" else box.buildah
    box.shell(*command, "push", "--tls-verify=false", "--format", form, name)
    head = admin.repo(f"{team.private}/{program}/{form}").head_manifest("v1")
    assert head.headers["Content-Type"] == media_type


def test_manifest_list(box: Box, team: Team, admin: Client) -> None:
    repository = team.name("podman/list")
    members = [f"{repository}:{arch}" for arch in ("amd64", "arm64")]
    login(box, team, team.developer)
    box.shell(*box.podman, "manifest", "create", f"{repository}:all")
    for member in members:
        box.build(member, unique("text"))
        box.shell(*box.podman, "push", "--tls-verify=false", "--format", "oci", member)
        arch = member.rsplit(":", 1)[1]
        box.shell(
            *box.podman, "manifest", "add", "--tls-verify=false", "--os", "linux", "--arch", arch,
            f"{repository}:all", f"docker://{member}",
        )  # fmt: skip
    box.shell(
        *box.podman, "manifest", "push", "--all", "--tls-verify=false", "--format", "oci",
        f"{repository}:all", f"docker://{repository}:all",
    )  # fmt: skip
    answer = admin.repo(f"{team.private}/podman/list").get_manifest("all")
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert {entry["platform"]["architecture"] for entry in answer.json()["manifests"]} == {"amd64", "arm64"}


def test_machine_account(box: Box, team: Team) -> None:
    name = team.name("podman/machine:v1")
    box.build(name)
    who = ":".join(team.machine)
    box.shell(*box.podman, "push", "--tls-verify=false", "--creds", who, name)
    box.shell(*box.podman, "pull", "--tls-verify=false", "--creds", who, name)


def test_wrong_password(box: Box, team: Team) -> None:
    box.shell.refused(
        *box.podman, "login", "--tls-verify=false", "-u", team.stranger[0], "-p", "not-it", team.registry.host
    )


def test_private_project_is_closed(box: Box, team: Team) -> None:
    name = team.name("podman/closed:v1")
    box.build(name)
    box.shell.refused(*box.podman, "push", "--tls-verify=false", name)
    box.shell.refused(*box.buildah, "push", "--tls-verify=false", name)
    login(box, team, team.developer)
    box.shell(*box.podman, "push", "--tls-verify=false", name)
    box.shell(*box.podman, "logout", team.registry.host)
    box.shell(*box.podman, "rmi", name)
    box.shell.refused(*box.podman, "pull", "--tls-verify=false", name)
    box.shell.refused(*box.buildah, "pull", "--tls-verify=false", name)


def test_public_project_is_open_for_reading(box: Box, team: Team) -> None:
    name = team.name("podman/open:v1", public=True)
    box.build(name)
    box.shell(*box.podman, "push", "--tls-verify=false", "--creds", ":".join(team.developer), name)
    box.shell(*box.podman, "rmi", name)
    box.shell(*box.podman, "pull", "--tls-verify=false", name)
    box.shell.refused(*box.podman, "push", "--tls-verify=false", name)
