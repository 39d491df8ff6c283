"""`seawall adopt-harbor` where Harbor's blobs are in a bucket, which Distribution itself has written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest

from tests.support.harbor.database import Harbor
from tests.support.harbor.move import Move, pulls
from tests.support.oci.remote import Remote, push_signed
from tests.support.registry import Registry
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.servers.postgres import Postgres
from tests.support.servers.swift import SwiftServer

_DRIVER = """\
  s3:
    bucket: {bucket}
    region: {region}
    regionendpoint: {url}
    forcepathstyle: true
    secure: false
    accesskey: {access}
    secretkey: {secret}
"""


@dataclass
class InBucket(Move):
    """A move whose tree is in a bucket."""

    bucket: Any

    def snapshot(self) -> dict[str, tuple[int, float]]:
        """Size and time of every object of the Distribution's."""
        return {
            item["path"]: (item["size"], item["last_modified"].timestamp())
            for page in obstore.list(self.bucket, "docker/")
            for item in page
        }


@pytest.fixture
def move(
    tmp_path: Path, postgres: Postgres, s3_server: SwiftServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InBucket]:
    """Two projects, with people and a robot; the Seawall is fresh, and runs."""
    # Debian's build cannot use one with its S3 driver.
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    name = s3_server.bucket()
    store = s3_server.store(name)
    settings = s3_server.settings(name)
    old = DockerRegistry(tmp_path)
    config = old.root / "config.yml"
    driver = _DRIVER.format(
        bucket=name,
        region=s3_server.region,
        url=s3_server.url,
        access=settings["SEAWALL_STORAGE__S3__ACCESSKEY"],
        secret=settings["SEAWALL_STORAGE__S3__SECRETKEY"],
    )
    folder = f"  filesystem: {{rootdirectory: {tmp_path / 'data'}}}\n"
    assert folder in config.read_text()
    config.write_text(config.read_text().replace(folder, driver))
    old.start()
    harbor = Harbor(postgres.database())
    new = Registry(tmp_path / "seawall", settings)
    try:
        remote = Remote(old.url)
        base = os.urandom(6_000_000)
        remote.push_image("library/app", "1.0", [base, b"one"])
        remote.push_image("library/app", "1.1", [base, b"two"])
        remote.push_image("team/tool", "2.0", [base])
        signed = push_signed(remote, "team/signed", "v1")
        alice = harbor.user("alice", "Password1", "pbkdf2_sha256")
        team = harbor.project("team", owner=alice)
        harbor.robot(
            "team+ci", "Robot-secret-1", [(f"/project/{team}", "repository", "pull")], project_id=team
        )
        # The rows that Harbor has are made from the tree, so it is copied out of the bucket for that.
        for page in obstore.list(store, "docker/"):
            for item in page:
                file = tmp_path / "data" / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(bytes(obstore.get(store, item["path"]).bytes()))
        for path, project in (("library/app", 1), ("team/tool", team), ("team/signed", team)):
            harbor.repository(project, path, tmp_path / "data")
        new.start()
        yield InBucket(harbor, old, signed, new, {"library": 1, "team": team}, store)
    finally:
        new.close()
        harbor.close()
        old.stop()


def test_a_bucket_is_adopted_where_it_is(move: InBucket) -> None:
    before = move.snapshot()
    assert len(before) > 20
    dry = move.run()
    assert dry["counts"]["artifact"]["new"] == dry["counts"]["artifact"]["found"] > 5
    assert (dry["left"], dry["kept"]) == ([], [])
    done = move.run("--apply")
    assert done["left"] == []
    here, there = Remote(move.new.url, ("admin", "Harbor12345")), Remote(move.old.url)
    for client in (here, there):
        # Both send clients to the bucket for blobs.
        client.http.follow_redirects = True
    for repository in ("library/app", "team/tool", "team/signed"):
        assert here.tags(repository) == there.tags(repository)
        for tag in there.tags(repository):
            assert here.digest(repository, tag) == there.digest(repository, tag)
            here.check(repository, tag)
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password1") == 0
    assert pulls(move.new.url, "team/tool", "2.0", "robot$team+ci", "Robot-secret-1") == 0
    # What is pushed while Harbor still serves comes with the next run; what is pushed here goes beside it.
    there.push_image("team/tool", "2.1", [b"later"])
    here.push_image("team/tool", "3.0", [b"new here"])
    here.check("team/tool", "3.0")
    after = move.snapshot()
    assert {path: after[path] for path in before if "/_layers/" not in path} == {
        path: seen for path, seen in before.items() if "/_layers/" not in path
    }
    # The collector leaves Harbor's objects alone, and Distribution serves them as before.
    assert move.new.cli("gc", "--grace-minutes", "0", "--reader-minutes", "0").returncode == 0
    assert before.keys() <= move.snapshot().keys()
    move.old.stop()
    move.old.start()
    for tag in ("1.0", "1.1"):
        there.check("library/app", tag)
    there.check("team/tool", "2.1")
    # Nothing of it is Harbor's any more after the way back.
    assert move.command("--rollback").returncode == 0
    assert before.keys() <= move.snapshot().keys()
