"""Go clients from their pinned sources: what each of them does against each way to set Seawall up."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import CLIENTS
from tests.support.foreign import PROGRAMS, build
from tests.support.oci.client import unique
from tests.support.oci.clients import Shell
from tests.support.oci.layout import Layout, top_digest, write_layout
from tests.support.oci.remote import Remote
from tests.support.setups import ADMIN, Setup

MIB = 1024 * 1024
LOST = re.compile(r"broken pipe|connection reset|unexpected EOF|\b50\d\b", re.IGNORECASE)


class Desk:
    """One client at one registry, with a private project of its own; `values` fill the commands."""

    def __init__(self, client: str, setup: Setup, shell: Shell) -> None:
        self.client = client
        self.setup = setup
        self.shell = shell
        self.commands = CLIENTS[client]
        self.project = setup.project()
        self.values: dict[str, Any] = {"host": setup.host}
        self.at(self.project, "app", "v1")
        if "set up" in self.commands:
            self.do("set up")

    def at(self, project: str, name: str, tag: str) -> str:
        """Choose the repository and the tag; returns the repository's path."""
        repository = f"{self.setup.host}/{project}/{name}"
        self.values |= {"repository": repository, "image": f"{repository}:{tag}"}
        return f"{project}/{name}"

    def login(self, user: tuple[str, str] = ADMIN) -> None:
        self.do("login", user=user[0], secret=self.file("secret", user[1].encode()))

    def file(self, name: str, data: bytes) -> Path:
        path = self.shell.home / name
        path.write_bytes(data)
        return path

    def run(self, operation: str, how: Callable[..., str], **values: object) -> str:
        words = shlex.split(self.commands[operation].format(**(self.values | values)))
        stdin = None
        if "<" in words:
            source = Path(words[words.index("<") + 1])
            words = words[: words.index("<")]
            # Text of one byte for each character, also where it is no text.
            stdin = source.read_bytes().decode("ascii")
        return how(*words, stdin=stdin)

    def do(self, operation: str, **values: object) -> str:
        """Run it; the client must succeed. Returns its standard output."""
        return self.run(operation, self.shell, **values)

    def talk(self, operation: str, **values: object) -> str:
        """The same; returns all that it said."""
        return self.run(operation, self.shell.both, **values)

    def refused(self, operation: str, **values: object) -> str:
        """Run it; the registry must turn it away, in its own words."""
        return self.run(operation, self.shell.refused, **values)

    def push(self, **values: object) -> Layout:
        """Log in and push an image of a fresh layout."""
        self.login()
        layout = write_layout(self.shell.home / unique("layout"))
        self.do("push", layout=layout.path, **values)
        return layout

    @property
    def remote(self) -> Remote:
        """The registry seen without the client."""
        return Remote(self.setup.url, ADMIN)


@pytest.fixture
def desk(
    request: pytest.FixtureRequest,
    setup: Setup,
    shell: Shell,
    record_property: Callable[[str, object], None],
) -> Desk:
    record_property("client", request.param)
    build(PROGRAMS[request.param])
    return Desk(request.param, setup, shell)


def clients(operation: str) -> pytest.MarkDecorator:
    """Run the test with each client that has the operation."""
    having = [name for name, commands in CLIENTS.items() if operation in commands]
    return pytest.mark.parametrize("desk", having, indirect=True)


@clients("login")
def test_login(desk: Desk) -> None:
    path = desk.at(desk.project, "app", "v1")
    desk.remote.push_image(path, "v1")
    desk.refused("check login")
    wrong = desk.file("secret", b"not-the-password")
    if desk.client == "crane":
        desk.do("login", user="admin", secret=wrong)
    else:
        desk.refused("login", user="admin", secret=wrong)
    desk.refused("check login")
    desk.login()
    assert "v1" in desk.do("check login").split()


@clients("push")
def test_push_and_pull(desk: Desk) -> None:
    layout = desk.push()
    path = f"{desk.project}/app"
    assert desk.remote.digest(path, "v1") == layout.digest
    desk.remote.check(path, "v1")
    by_tag, by_digest = desk.shell.home / "by-tag", desk.shell.home / "by-digest"
    desk.do("pull", out=by_tag)
    desk.do("pull", out=by_digest, image=f"{desk.values['repository']}@{layout.digest}")
    for folder in (by_tag, by_digest):
        assert top_digest(folder) == layout.digest
        for digest, data in layout.blobs.items():
            assert (folder / "blobs" / digest.replace(":", "/")).read_bytes() == data


@clients("push")
def test_index_of_two_platforms(desk: Desk) -> None:
    desk.login()
    layout = write_layout(desk.shell.home / "platforms", platforms=True)
    desk.do("push", layout=layout.path)
    path = f"{desk.project}/app"
    assert desk.remote.digest(path, "v1") == layout.digest
    desk.remote.check(path, "v1")
    desk.do("pull", out=desk.shell.home / "back")
    # oras lists the children there too.
    entries = json.loads((desk.shell.home / "back" / "index.json").read_text())["manifests"]
    assert layout.digest in {entry["digest"] for entry in entries}
    for digest, data in layout.blobs.items():
        assert (desk.shell.home / "back" / "blobs" / digest.replace(":", "/")).read_bytes() == data


@clients("copy")
def test_copy_mounts(desk: Desk) -> None:
    """To another repository and another project: not a byte of a blob is sent."""
    layout = desk.push()
    for project in (desk.project, desk.setup.project()):
        said = desk.talk("copy", target=f"{desk.setup.host}/{project}/copies/app:v2")
        assert re.search("mount=sha256|Mounted", said), said
        # A mount that misses opens an upload session.
        assert not re.search(r"/blobs/uploads/[0-9a-f]{8}-", said), said
        assert desk.remote.digest(f"{project}/copies/app", "v2") == layout.digest
        desk.remote.check(f"{project}/copies/app", "v2")


@clients("tags")
def test_list_tags(desk: Desk) -> None:
    desk.login()
    path = f"{desk.project}/app"
    image = desk.remote.push_image(path, "v1")
    tags = {f"t{number:03}" for number in range(120)} | {"v1"}
    headers = desk.remote._headers(path)
    manifest = desk.remote.http.get(f"/v2/{path}/manifests/{image['digest']}", headers=headers)
    headers["Content-Type"] = manifest.headers["Content-Type"]
    for tag in tags:
        put = desk.remote.http.put(f"/v2/{path}/manifests/{tag}", content=manifest.content, headers=headers)
        assert put.status_code == 201, put.text
    assert set(desk.do("tags").split()) == tags


@clients("delete")
def test_delete(desk: Desk) -> None:
    layout = desk.push()
    desk.do("delete", digest=layout.digest)
    assert desk.remote.digest(f"{desk.project}/app", "v1") is None
    assert desk.remote.digest(f"{desk.project}/app", layout.digest) is None


@clients("delete tag")
def test_delete_tag(desk: Desk) -> None:
    layout = desk.push()
    desk.do("push", layout=layout.path, image=f"{desk.values['repository']}:v2")
    desk.do("delete tag")
    assert desk.remote.digest(f"{desk.project}/app", "v1") is None
    assert desk.remote.digest(f"{desk.project}/app", "v2") == layout.digest


@clients("attach")
def test_attach_and_discover(desk: Desk) -> None:
    layout = desk.push()
    text = desk.file("notes.txt", unique("notes").encode())
    kind = "application/vnd.example.notes"
    desk.do("attach", type=kind, file=text, name=text.name)
    [attached] = desk.remote.referrers(f"{desk.project}/app", layout.digest)
    said = desk.do("discover")
    assert attached in said
    assert kind in said
    # No tag stands in for the API.
    assert desk.remote.tags(f"{desk.project}/app") == ["v1"]


@clients("big")
def test_refused_upload(desk: Desk) -> None:
    """6 MiB that a guest may not push, or that a quota does not allow: the client says why."""
    # Text, since it goes through a client's standard input; not compressible to less than the quota.
    file = desk.file("big.txt", os.urandom(3 * MIB).hex().encode())
    desk.login(desk.setup.member(desk.project, 3))
    said = desk.refused("big", file=file, name=file.name)
    assert not LOST.search(said), said
    full = desk.setup.project(storage=1 * MIB)
    desk.login(desk.setup.member(full, 2))
    desk.at(full, "app", "v1")
    for _ in range(3):
        said = desk.run("big", desk.shell.failed, file=file, name=file.name)
        assert "quota" in said, said
        assert not LOST.search(said), said
