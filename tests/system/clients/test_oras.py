"""The Python ORAS client: artifacts of any type, pushed, listed, pulled, and attached to others."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import oras.client
import oras.oci
import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import OCI_MANIFEST, Client, unique
from tests.support.oci.clients import REFUSED, Team

TYPE = "application/vnd.example.notes.v1+json"

Login = Callable[..., oras.client.OrasClient]


@pytest.fixture
def connect(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """Make a client; credentials go to a file of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    logging.getLogger("oras").setLevel(logging.CRITICAL)

    def make(user: tuple[str, str] | None = None) -> oras.client.OrasClient:
        made = oras.client.OrasClient(hostname=team.registry.host, insecure=True, tls_verify=False)
        if user:
            made.login(
                hostname=team.registry.host,
                username=user[0],
                password=user[1],
                tls_verify=False,
                config_path=str(tmp_path / "oras-auth.json"),
            )
        return made

    return make


def write(tmp_path: Path) -> Path:
    file = tmp_path / "notes.txt"
    file.write_text(unique("note") * 50)
    return file


def ask_to_write(client: oras.client.OrasClient, target: str) -> None:
    """Make the client's first request one that writes.

    This client keeps the first token it gets and shows it again when a 401 asks for more, so a push that
    starts with "is this blob there?" is stuck with a token to read. Opening a session (and closing it)
    first gets it one that may write.
    """
    container = client.get_container(target)
    opened = client.do_request(f"{client.prefix}://{container.upload_blob_url()}", "POST")
    if opened.status_code == 202:
        client.do_request(
            urljoin(f"{client.prefix}://{container.registry}", opened.headers["Location"]), "DELETE"
        )


def push(client: oras.client.OrasClient, target: str, file: Path, **options: object) -> None:
    ask_to_write(client, target)
    answer = client.push(target=target, files=[f"{file.name}:{TYPE}"], **options)
    assert answer.status_code == 201, answer.text


def test_push_and_pull(team: Team, connect: Login, tmp_path: Path, admin: Client) -> None:
    file, target = write(tmp_path), team.name("oras/notes:v1")
    client = connect(team.developer)
    push(client, target, file, manifest_annotations={"org.example.note": "yes"})
    manifest = admin.repo(f"{team.private}/oras/notes").get_manifest("v1").json()
    assert [layer["mediaType"] for layer in manifest["layers"]] == [TYPE]
    assert manifest["annotations"]["org.example.note"] == "yes"
    pulled = connect(team.developer).pull(target=target, outdir=str(tmp_path / "out"))
    assert [Path(name).read_bytes() for name in pulled] == [file.read_bytes()]


def test_chunked_push(team: Team, connect: Login, tmp_path: Path) -> None:
    file, target = tmp_path / "big.bin", team.name("oras/chunked:v1")
    file.write_bytes(bytes(range(256)) * 2000)
    push(connect(team.developer), target, file, do_chunked=True, chunk_size=100_000)
    pulled = connect(team.developer).pull(target=target, outdir=str(tmp_path / "out"))
    assert [Path(name).read_bytes() for name in pulled] == [file.read_bytes()]


def test_tags(team: Team, connect: Login, tmp_path: Path) -> None:
    file, client = write(tmp_path), connect(team.developer)
    for number in range(5):
        push(client, team.name(f"oras/tags:t{number}"), file)
    assert client.get_tags(team.name("oras/tags"), N=5) == [f"t{number}" for number in range(5)]
    # Pages of two: the client follows the registry's Link header.
    paged: list[str] = []
    first = client.do_request(f"{team.registry.url}/v2/{team.private}/oras/tags/tags/list?n=2")
    paged += first.json()["tags"]
    while "next" in first.links:
        first = client.do_request(urljoin(team.registry.url, first.links["next"]["url"]))
        paged += first.json()["tags"]
    assert paged == [f"t{number}" for number in range(5)]


def test_attach_shows_among_referrers(team: Team, connect: Login, tmp_path: Path, admin: Client) -> None:
    file, client = write(tmp_path), connect(team.developer)
    push(client, team.name("oras/attach:v1"), file)
    repo = admin.repo(f"{team.private}/oras/attach")
    base = repo.get_manifest("v1").content
    subject = oras.oci.Subject(mediaType=OCI_MANIFEST, digest=digest_of(base), size=len(base))
    config = tmp_path / "config.json"
    config.write_text("{}")
    push(
        client,
        team.name("oras/attach:signature"),
        file,
        subject=subject,
        manifest_config=f"{config}:application/vnd.example.signature",
    )
    attached = repo.get_manifest("signature").content
    listed = repo.referrers(digest_of(base), "application/vnd.example.signature").json()["manifests"]
    assert [entry["digest"] for entry in listed] == [digest_of(attached)]
    assert json.loads(attached)["subject"]["digest"] == digest_of(base)


def test_machine_account(team: Team, connect: Login, tmp_path: Path) -> None:
    target = team.name("oras/machine:v1")
    push(connect(team.machine), target, write(tmp_path))
    assert connect(team.machine).pull(target=target, outdir=str(tmp_path / "out"))


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        call()


def test_private_project_is_closed(team: Team, connect: Login, tmp_path: Path) -> None:
    file, target = write(tmp_path), team.name("oras/closed:v1")
    refused(lambda: push(connect(), target, file))
    push(connect(team.developer), target, file)
    (tmp_path / "oras-auth.json").unlink(missing_ok=True)
    for who in (None, team.stranger):
        refused(lambda who=who: connect(who).pull(target=target, outdir=str(tmp_path / "out")))  # type: ignore[misc]
    assert connect(team.guest).pull(target=target, outdir=str(tmp_path / "out"))


def test_public_project_is_open_for_reading(team: Team, connect: Login, tmp_path: Path) -> None:
    file, target = write(tmp_path), team.name("oras/open:v1", public=True)
    push(connect(team.developer), target, file)
    pulled = connect().pull(target=target, outdir=str(tmp_path / "out"))
    assert [Path(name).read_bytes() for name in pulled] == [file.read_bytes()]
    refused(lambda: push(connect(), target, file))
