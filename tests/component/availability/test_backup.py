"""Backup while pushes run, restore into either database, damage named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.bare import connect, image, push_blob, put_manifest
from tests.support.registry import Registry


def test_backup_under_load_and_restore(
    server: Registry, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server.create_project("team")
    server.create_user("keeper", "Keeper-12345")
    server.add_member("team", "keeper", "developer")
    acknowledged: dict[str, bytes] = {}
    stop = threading.Event()

    def push() -> None:
        with connect(server) as client:
            for number in range(10_000):
                if stop.is_set():
                    return
                layers = [os.urandom(500), os.urandom(90_000)]
                for data in layers:
                    push_blob(client, "team/app", data)
                payload = image(layers)
                assert put_manifest(client, "team/app", f"t{number}", payload).status_code == 201
                acknowledged[f"t{number}"] = payload

    thread = threading.Thread(target=push)
    thread.start()
    while len(acknowledged) < 5:
        assert thread.is_alive()
    before = dict(acknowledged)
    directory = tmp_path / "backup"
    done = server.cli("backup", str(directory))
    stop.set()
    thread.join()
    assert done.returncode == 0, done.stderr
    checked = server.cli("backup", "--verify", str(directory))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # Again, with nothing running: everything is in it, and only what is new was copied.
    again = server.cli("backup", str(directory))
    assert again.returncode == 0, again.stderr
    assert server.stop() == 0

    # Into the other kind of database, so that the dump is shown to be independent of it.
    other = "SEAWALL_DATABASE__URL" not in server.environment
    settings = {"SEAWALL_DATABASE__URL": request.getfixturevalue("postgres").database()} if other else {}
    copy = Registry(tmp_path / "restored", settings)
    copy.data_dir.mkdir()
    shutil.copy(server.data_dir / "master.key", copy.data_dir / "master.key")
    restored = copy.cli("restore", str(directory))
    assert restored.returncode == 0, restored.stderr
    copy.start()
    try:
        with httpx.Client(base_url=copy.url, auth=("keeper", "Keeper-12345"), timeout=60) as client:
            for tag, payload in acknowledged.items():
                assert client.get(f"/v2/team/app/manifests/{tag}").content == payload
                for layer in json.loads(payload)["layers"]:
                    body = client.get(f"/v2/team/app/blobs/{layer['digest']}").content
                    assert "sha256:" + hashlib.sha256(body).hexdigest() == layer["digest"]
            data = os.urandom(100)
            push_blob(client, "team/new", data)
            assert put_manifest(client, "team/new", "v1", image([data])).status_code == 201
        copy.create_project("after")
        assert set(before) <= set(acknowledged)
        assert copy.cli("fsck").returncode == 0
        refused = copy.cli("restore", str(directory))
        assert refused.returncode == 1
        assert "not empty" in refused.stderr
    finally:
        copy.close()


def test_damage_is_named(fresh_registry: Registry, tmp_path: Path) -> None:
    fresh_registry.start()
    data = os.urandom(5000)
    with connect(fresh_registry) as client:
        push_blob(client, "library/x", data)
        assert put_manifest(client, "library/x", "v1", image([data])).status_code == 201
    directory = tmp_path / "backup"
    assert fresh_registry.cli("backup", str(directory)).returncode == 0
    blob = next(path for path in (directory / "blobs").glob("*/*"))
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    checked = fresh_registry.cli("backup", "--verify", str(directory))
    assert checked.returncode == 1
    assert f"{digest_of(data)}: damaged" in checked.stdout
    target = Registry(tmp_path / "none")
    refused = target.cli("restore", str(directory))
    assert refused.returncode == 1
    assert "damaged" in refused.stderr
    (directory / "backup.json").unlink()
    refused = target.cli("restore", str(directory))
    assert refused.returncode == 1
    assert "not a complete backup" in refused.stderr
