"""skopeo: copies in both directions and formats, inspect, list-tags, delete, and who may do what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.oci.client import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Client
from tests.support.oci.clients import Shell, Team
from tests.support.oci.layout import Layout, top_digest, write_layout

PROGRAMS = ("skopeo",)


def creds(user: tuple[str, str]) -> str:
    return f"{user[0]}:{user[1]}"


def push(shell: Shell, layout: Layout, team: Team, name: str, *options: str) -> None:
    shell(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds(team.developer), *options,
        layout.source, f"docker://{name}",
    )  # fmt: skip


def pull(shell: Shell, team: Team, name: str, to: str, *options: str) -> None:
    shell(
        "skopeo", "copy", "--src-tls-verify=false", "--src-creds", creds(team.developer), *options,
        f"docker://{name}", to,
    )  # fmt: skip


def test_copy_there_and_back(shell: Shell, team: Team, layout: Layout, tmp_path: Path) -> None:
    name = team.name("skopeo/there-and-back:v1")
    push(shell, layout, team, name)
    pull(shell, team, name, f"oci:{tmp_path / 'back'}:latest")
    assert top_digest(tmp_path / "back") == layout.digest
    for digest, data in layout.blobs.items():
        assert (tmp_path / "back" / "blobs" / digest.replace(":", "/")).read_bytes() == data
    pull(shell, team, name, f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == layout.blobs[layout.digest]
    # And the directory form goes up again unchanged.
    shell(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds(team.developer),
        f"dir:{tmp_path / 'dir'}", f"docker://{team.name('skopeo/from-dir:v1')}",
    )  # fmt: skip
    pull(shell, team, f"{team.name('skopeo/from-dir')}@{layout.digest}", f"dir:{tmp_path / 'again'}")


def test_copy_index_with_all_platforms(shell: Shell, team: Team, tmp_path: Path, admin: Client) -> None:
    layout = write_layout(tmp_path / "index", platforms=True)
    push(shell, layout, team, team.name("skopeo/index:all"), "--all")
    head = admin.repo(f"{team.private}/skopeo/index").head_manifest("all")
    assert head.headers["Content-Type"] == OCI_INDEX
    assert head.headers["Docker-Content-Digest"] == layout.digest
    pull(shell, team, team.name("skopeo/index:all"), f"oci:{tmp_path / 'back'}:latest", "--all")
    assert top_digest(tmp_path / "back") == layout.digest


@pytest.mark.parametrize(
    ("options", "media_type", "layer_type"),
    [
        (["--format", "v2s2"], DOCKER_MANIFEST, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (["--format", "oci"], OCI_MANIFEST, "application/vnd.oci.image.layer.v1.tar+gzip"),
    ],
    ids=["docker schema 2", "oci"],
)
def test_formats(
    shell: Shell,
    team: Team,
    layout: Layout,
    admin: Client,
    tmp_path: Path,
    options: list[str],
    media_type: str,
    layer_type: str,
) -> None:
    repository = f"skopeo/format-{options[-1]}"
    push(shell, layout, team, team.name(f"{repository}:v1"), *options)
    manifest = admin.repo(f"{team.private}/{repository}").get_manifest("v1")
    assert manifest.headers["Content-Type"] == media_type
    assert {layer["mediaType"] for layer in manifest.json()["layers"]} == {layer_type}
    pull(shell, team, team.name(f"{repository}:v1"), f"dir:{tmp_path / 'back'}")
    assert (tmp_path / "back" / "manifest.json").read_bytes() == manifest.content


def test_zstd_layers(shell: Shell, team: Team, layout: Layout, admin: Client, tmp_path: Path) -> None:
    # Layers keep the compression they have, so they are unpacked first and packed as zstd on the way up.
    shell("skopeo", "copy", "--dest-decompress", layout.source, f"dir:{tmp_path / 'plain'}")
    shell(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds(team.developer), "--format", "oci",
        "--dest-compress-format", "zstd", f"dir:{tmp_path / 'plain'}", f"docker://{team.name('skopeo/zstd:v1')}",
    )  # fmt: skip
    layers = admin.repo(f"{team.private}/skopeo/zstd").get_manifest("v1").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    pull(shell, team, team.name("skopeo/zstd:v1"), f"oci:{tmp_path / 'back'}:latest")


def test_inspect(shell: Shell, team: Team, layout: Layout) -> None:
    name = team.name("skopeo/inspect:v1")
    push(shell, layout, team, name)
    told = json.loads(
        shell("skopeo", "inspect", "--tls-verify=false", "--creds", creds(team.developer), f"docker://{name}")
    )
    assert told["Digest"] == layout.digest
    assert told["RepoTags"] == ["v1"]
    raw = shell(
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        "--creds",
        creds(team.developer),
        f"docker://{name}",
    )
    assert raw.encode() == layout.blobs[layout.digest]
    config = json.loads(
        shell(
            "skopeo",
            "inspect",
            "--config",
            "--tls-verify=false",
            "--creds",
            creds(team.developer),
            f"docker://{name}",
        )
    )
    assert config["os"] == "linux"


def test_list_tags(shell: Shell, team: Team, layout: Layout) -> None:
    for tag in ("b", "a", "v1.0"):
        push(shell, layout, team, team.name(f"skopeo/tags:{tag}"))
    told = json.loads(
        shell(
            "skopeo",
            "list-tags",
            "--tls-verify=false",
            "--creds",
            creds(team.developer),
            f"docker://{team.name('skopeo/tags')}",
        )
    )
    assert sorted(told["Tags"]) == ["a", "b", "v1.0"]


def test_delete(shell: Shell, team: Team, layout: Layout) -> None:
    name = team.name("skopeo/delete:v1")
    push(shell, layout, team, name)
    admin = creds(team.registry.admin)
    shell("skopeo", "delete", "--tls-verify=false", "--creds", admin, f"docker://{name}")
    said = shell.failed("skopeo", "inspect", "--tls-verify=false", "--creds", admin, f"docker://{name}")
    assert "manifest unknown" in said.lower(), said


def test_copy_between_repositories(shell: Shell, team: Team, layout: Layout, admin: Client) -> None:
    source, target = team.name("skopeo/source:v1"), team.name("skopeo/target:v2", public=True)
    push(shell, layout, team, source)
    shell(
        "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
        "--src-creds", creds(team.developer), "--dest-creds", creds(team.developer),
        f"docker://{source}", f"docker://{target}",
    )  # fmt: skip
    repo = admin.repo(f"{team.public}/skopeo/target")
    assert repo.head_manifest("v2").headers["Docker-Content-Digest"] == layout.digest
    for digest in layout.blobs:
        if digest != layout.digest:
            assert repo.head_blob(digest).status_code == 200


def test_login_then_push_and_logout(shell: Shell, team: Team, layout: Layout) -> None:
    name, host = team.name("skopeo/login:v1"), team.registry.host
    user, password = team.developer
    shell("skopeo", "login", "--tls-verify=false", "-u", user, "--password-stdin", host, stdin=password)
    shell("skopeo", "copy", "--dest-tls-verify=false", layout.source, f"docker://{name}")
    shell("skopeo", "inspect", "--tls-verify=false", f"docker://{name}")
    shell("skopeo", "logout", host)
    shell.refused("skopeo", "inspect", "--tls-verify=false", f"docker://{name}")


def test_machine_account(shell: Shell, team: Team, layout: Layout) -> None:
    """A name and a secret with every awkward character, given as Basic credentials."""
    name = team.name("skopeo/machine:v1")
    who = creds(team.machine)
    shell("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", who, layout.source, f"docker://{name}")
    shell("skopeo", "inspect", "--tls-verify=false", "--creds", who, f"docker://{name}")


def test_wrong_password(shell: Shell, team: Team) -> None:
    shell.refused(
        "skopeo", "login", "--tls-verify=false", "-u", team.stranger[0], "-p", "not-it", team.registry.host
    )


def test_private_project_is_closed(shell: Shell, team: Team, layout: Layout) -> None:
    name = team.name("skopeo/closed:v1")
    push(shell, layout, team, name)
    target = f"docker://{name}"
    # Nobody, and somebody of no project, neither read nor write.
    for who in (["--no-creds"], ["--creds", creds(team.stranger)]):
        shell.refused("skopeo", "inspect", "--tls-verify=false", *who, target)
    for who in (["--dest-no-creds"], ["--dest-creds", creds(team.stranger)]):
        shell.refused("skopeo", "copy", "--dest-tls-verify=false", *who, layout.source, target)


def test_guest_reads_only(shell: Shell, team: Team, layout: Layout) -> None:
    name = team.name("skopeo/guest:v1")
    push(shell, layout, team, name)
    shell("skopeo", "inspect", "--tls-verify=false", "--creds", creds(team.guest), f"docker://{name}")
    shell.refused(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds(team.guest),
        layout.source, f"docker://{team.name('skopeo/guest:v2')}",
    )  # fmt: skip


def test_public_project_is_open_for_reading(shell: Shell, team: Team, layout: Layout, tmp_path: Path) -> None:
    name = team.name("skopeo/open:v1", public=True)
    push(shell, layout, team, name)
    shell(
        "skopeo", "copy", "--src-tls-verify=false", "--src-no-creds", f"docker://{name}",
        f"oci:{tmp_path / 'back'}:latest",
    )  # fmt: skip
    assert top_digest(tmp_path / "back") == layout.digest
    shell.refused(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-no-creds", layout.source, f"docker://{name}"
    )


def test_missing_project(shell: Shell, team: Team, layout: Layout) -> None:
    said = shell.failed(
        "skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds(team.developer),
        layout.source, f"docker://{team.registry.host}/no-such-project/x:v1",
    )  # fmt: skip
    assert any(
        word in said.lower() for word in ("denied", "unauthorized", "not found", "not known", "name unknown")
    )
