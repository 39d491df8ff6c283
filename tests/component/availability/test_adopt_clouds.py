"""`seawall adopt-harbor` where Harbor's blobs are at Google's or in Azure, as far as stand-ins for them go.

Debian's Distribution has neither driver in use here: the tree that it writes into a folder is put into the
bucket as it is, with the names that Distribution gives blobs in both clouds (in Azure, release 2.8 begins
them with a slash, 3 does not).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import AzureStore

from seawall.infra.storage.connect import open_objects
from tests.support.harbor.database import Harbor
from tests.support.harbor.move import Move, pulls
from tests.support.oci.remote import MANIFEST, Remote, push_signed
from tests.support.registry import Registry
from tests.support.servers.azurite import ACCOUNT, AzuriteServer
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.servers.gcs import GcsServer
from tests.support.servers.postgres import Postgres


@dataclass
class Cloud:
    """A bucket: its store, the prefix of its names, and what a Seawall's environment says of it."""

    store: Any
    prefix: str
    environment: dict[str, str]
    # What puts the Distribution's files, where it is another store than the one that lists them.
    writer: Any = None

    def names(self) -> dict[str, tuple[int, float]]:
        """Size and time of every object of the Distribution's."""
        return {
            item["path"]: (item["size"], item["last_modified"].timestamp())
            for page in obstore.list(self.store)
            for item in page
            if item["path"].startswith(f"{self.prefix}docker/")
        }

    def fill(self, tree: Path) -> None:
        """Put a Distribution's folder into the bucket."""
        for file in tree.rglob("*"):
            if file.is_file():
                obstore.put(
                    self.writer or self.store, self.prefix + str(file.relative_to(tree)), file.read_bytes()
                )


def _azure(server: AzuriteServer) -> Cloud:
    container = server.container()
    environment = {
        "SEAWALL_STORAGE__DRIVER": "azure",
        "SEAWALL_STORAGE__AZURE__CONTAINER": container,
        "SEAWALL_STORAGE__AZURE__ACCOUNTNAME": ACCOUNT,
        "SEAWALL_STORAGE__AZURE__ACCOUNTKEY": server.key,
        "SEAWALL_STORAGE__AZURE__ENDPOINT": server.endpoint,
    }
    return Cloud(open_objects(server.settings(container)).store, "", environment)


def _slashed(server: AzuriteServer) -> Cloud:
    cloud = _azure(server)
    container = cloud.environment["SEAWALL_STORAGE__AZURE__CONTAINER"]
    # An empty container after the address leaves a slash before each name.
    cloud.writer = AzureStore(
        "",
        account_name=ACCOUNT,
        account_key=server.key,
        endpoint=f"{server.endpoint}/{container}",
        client_options={"allow_http": True},
    )
    cloud.environment |= {
        "SEAWALL_STORAGE__REDIRECT": "true",
        # Distribution 2.8 knows none in Azure; the new content is below it.
        "SEAWALL_STORAGE__AZURE__ROOTDIRECTORY": "seawall",
    }
    return cloud


def _gcs(server: GcsServer) -> Cloud:
    bucket = server.bucket()
    environment = {
        "SEAWALL_STORAGE__DRIVER": "gcs",
        "SEAWALL_STORAGE__GCS__BUCKET": bucket,
        "SEAWALL_STORAGE__GCS__KEYFILE": str(server.keyfile),
        "SEAWALL_STORAGE__GCS__ROOTDIRECTORY": "of/harbor",
        # Signed URLs are for Google's own host.
        "SEAWALL_STORAGE__REDIRECT": "false",
    }
    return Cloud(open_objects(server.settings(bucket, "of/harbor")).store, "of/harbor/", environment)


_CLOUDS: dict[str, tuple[type[Any], Callable[[Any], Cloud]]] = {
    "azure": (AzuriteServer, _azure),
    "azure of Distribution 2.8": (AzuriteServer, _slashed),
    "gcs": (GcsServer, _gcs),
}


@pytest.fixture(params=sorted(_CLOUDS))
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    kind, opened = _CLOUDS[request.param]
    server = kind()
    try:
        server.start()
        yield opened(server)
    finally:
        server.stop()


@pytest.fixture
def move(tmp_path: Path, postgres: Postgres, cloud: Cloud) -> Iterator[Move]:
    """Two projects, with people and a robot; the Seawall is fresh, and runs on the empty bucket."""
    old = DockerRegistry(tmp_path)
    old.start()
    harbor = Harbor(postgres.database())
    new = Registry(tmp_path / "seawall", cloud.environment)
    try:
        remote = Remote(old.url)
        base = os.urandom(6_000_000)
        remote.push_image("library/app", "1.0", [base, b"one"])
        remote.push_image("team/tool", "2.0", [base])
        signed = push_signed(remote, "team/signed", "v1")
        team = harbor.project("team", owner=harbor.user("alice", "Password1", "pbkdf2_sha256"))
        for path, project in (("library/app", 1), ("team/tool", team), ("team/signed", team)):
            harbor.repository(project, path, tmp_path / "data")
        new.start()
        yield Move(harbor, old, signed, new, {"library": 1, "team": team})
    finally:
        new.close()
        harbor.close()
        old.stop()


def test_a_bucket_is_adopted_where_it_is(move: Move, cloud: Cloud) -> None:
    empty = move.command()
    assert empty.returncode != 0
    assert "the storage has no blobs below docker/registry/v2" in empty.stderr
    cloud.fill(move.tree)
    before = cloud.names()
    dry = move.run()
    assert dry["counts"]["artifact"]["new"] == dry["counts"]["artifact"]["found"] > 5
    assert (dry["left"], dry["kept"]) == ([], [])
    assert move.run("--apply")["left"] == []
    here, there = Remote(move.new.url, ("admin", "Harbor12345")), Remote(move.old.url)
    here.http.follow_redirects = True
    for repository in ("library/app", "team/tool", "team/signed"):
        assert here.tags(repository) == there.tags(repository)
        for tag in there.tags(repository):
            assert here.digest(repository, tag) == there.digest(repository, tag)
            here.check(repository, tag)
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password1") == 0
    if "SEAWALL_STORAGE__REDIRECT" in cloud.environment and cloud.writer is not None:
        # Clients are sent to the blob itself, slash and all.
        shown = there.http.get("/v2/team/tool/manifests/2.0", headers={"Accept": MANIFEST}).json()
        sent = here.blob("team/tool", shown["layers"][0]["digest"])
        assert "//docker/registry/v2/blobs/sha256/" in sent.headers["Location"]
    # What is pushed here goes next to it, and the collector leaves it alone.
    here.push_image("team/tool", "3.0", [b"new here"])
    here.check("team/tool", "3.0")
    assert move.new.cli("gc", "--grace-minutes", "0", "--reader-minutes", "0").returncode == 0
    assert cloud.names() == before
    assert move.command("--rollback", "--apply").returncode == 0
    assert cloud.names() == before
    # Until Harbor is gone for good. The first run forgets the blobs, the second deletes what they were in.
    assert move.run("--apply", "--switch")["left"] == []
    assert move.command("--release-storage").returncode == 0
    project = f"{move.new.url}/api/v2.0/projects/team/repositories/tool"
    assert here.http.delete(project, auth=("admin", "Harbor12345")).status_code == 200
    for _ in range(2):
        assert move.new.cli("gc", "--grace-minutes", "0", "--reader-minutes", "0").returncode == 0
    assert cloud.names().keys() < before.keys()
    here.check("library/app", "1.0")
