"""Backup while pushes run, restore into either database, damage named."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall.availability import backup
from seawall.infra.db import dump
from seawall.infra.storage.filesystem import FilesystemStorage
from tests.support.digests import digest_of
from tests.support.identity import Identity
from tests.support.oci.bare import connect, image, push_blob, put_manifest
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.issuer import open_issuer
from tests.support.servers.slapd import Slapd


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


def _push(registry: Registry, tag: str) -> str:
    data = os.urandom(5000)
    with connect(registry) as client:
        push_blob(client, "library/x", data)
        assert put_manifest(client, "library/x", tag, image([data])).status_code == 201
    return digest_of(data)


def _faults(directory: Path) -> list[str]:
    async def all_of() -> list[str]:
        return [fault async for fault in backup.verify(directory)]

    return asyncio.run(all_of())


@pytest.mark.parametrize("fails", ["write_tables", "snapshot", "_copy", "write_whole"])
def test_a_backup_that_fails_leaves_the_last_one_whole(
    fails: str, fresh_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a database that is lost, at each step of the second run."""
    fresh_registry.start()
    kept = _push(fresh_registry, "v1")
    directory = tmp_path / "backup"
    url = f"sqlite:///{fresh_registry.data_dir}/seawall.db"
    storage = FilesystemStorage(fresh_registry.data_dir / "blobs")
    asyncio.run(backup.backup(url, storage, directory))
    before = json.loads((directory / "backup.json").read_text())
    _push(fresh_registry, "v2")
    with connect(fresh_registry) as client:
        assert client.delete("/v2/library/x/manifests/v1").status_code == 202

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dump if hasattr(dump, fails) else backup, fails, full)
        with pytest.raises(OSError, match="No space left"):
            asyncio.run(backup.backup(url, storage, directory))
    assert _faults(directory) == []
    assert json.loads((directory / "backup.json").read_text()) == before
    assert backup.blob_file(directory, kept).exists()
    asyncio.run(backup.backup(url, storage, directory))
    assert _faults(directory) == []
    assert len(list(directory.glob("metadata*"))) == 1
    assert json.loads((directory / "backup.json").read_text())["blobs"] > 0


def test_two_backups_at_once_into_one_directory(fresh_registry: Registry, tmp_path: Path) -> None:
    fresh_registry.start()
    directory = tmp_path / "backup"
    directory.mkdir()
    with backup._alone(directory):
        refused = fresh_registry.cli("backup", str(directory))
    assert refused.returncode == 1
    assert refused.stderr.strip() == f"seawall: another backup is writing into {directory}; wait for it"
    assert fresh_registry.cli("backup", str(directory)).returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "9999"}, "was made by a newer Seawall"),
        ({"metadata": "../elsewhere"}, "backup.json is damaged"),
        ({"tables": None}, "backup.json is damaged"),
        ({"format": 2}, "is a backup of another format"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(
    change: dict[str, Any], message: str, fresh_registry: Registry, tmp_path: Path
) -> None:
    fresh_registry.start()
    directory, target = tmp_path / "backup", Registry(tmp_path / "none")
    assert fresh_registry.cli("backup", str(directory)).returncode == 0
    file = directory / "backup.json"
    content = json.loads(file.read_text()) | change
    file.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    refused = target.cli("restore", str(directory))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert message in refused.stderr


def test_who_people_and_programs_are_comes_back(fresh_registry: Registry, tmp_path: Path) -> None:
    """Sources with their secrets, links, trusted issuers, tokens and virtual projects."""
    directory = Slapd(tmp_path / "slapd", free_port())
    directory.root.mkdir()
    copy = Registry(tmp_path / "restored")
    with open_issuer() as issuer:
        directory.start()
        try:
            fresh_registry.start()
            made = Identity(fresh_registry, directory, issuer)
            made.check(fresh_registry)
            kept = tmp_path / "backup"
            done = fresh_registry.cli("backup", str(kept))
            assert done.returncode == 0, done.stderr
            assert fresh_registry.stop() == 0
            copy.data_dir.mkdir()
            shutil.copy(fresh_registry.data_dir / "master.key", copy.data_dir / "master.key")
            restored = copy.cli("restore", str(kept))
            assert restored.returncode == 0, restored.stderr
            copy.start()
            made.check(copy)
        finally:
            copy.close()
            directory.stop()
