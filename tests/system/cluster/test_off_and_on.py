"""A whole cluster loses its power: instances, database and object store at once, in the middle of pushes.

They come back in the worst order, instances first. Nobody touches an instance: it waits for what it needs, or
ends with an error and is started again, as systemd and Kubernetes do.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.bare import connect, image, push_blob, put_manifest
from tests.support.registry import Registry
from tests.support.servers.postgres import PostgresNode
from tests.support.servers.swift import SwiftServer
from tests.support.waiting import until


@dataclass
class Cluster:
    """Two instances, their database, their object store."""

    instances: list[Registry]
    database: PostgresNode
    store: SwiftServer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # PostgreSQL's user must be able to enter its folder.
    root = Path(tempfile.mkdtemp(prefix="seawall-off-"))
    root.chmod(0o755)
    database, store = PostgresNode(root / "postgres"), SwiftServer()
    instances: list[Registry] = []
    try:
        database.init()
        database.start()
        database.sql("CREATE DATABASE registry")
        store.start()
        url = f"postgresql://seawall@127.0.0.1:{database.port}/registry"
        settings = {"SEAWALL_DATABASE__URL": url, **store.settings(store.bucket())}
        settings["SEAWALL_MASTER_KEY"] = "A" * 43 + "="
        instances = [Registry(tmp_path / name, settings) for name in ("one", "two")]
        for instance in instances:
            instance.start()
        yield Cluster(instances, database, store)
    finally:
        for instance in instances:
            instance.close()
        store.close()
        database.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


def _push(server: Registry, repository: str, acknowledged: dict[str, tuple[bytes, bytes]]) -> None:
    """Push images until the server is gone."""
    with connect(server) as client:
        for number in range(10_000):
            data = os.urandom(20_000)
            payload = image([data])
            try:
                push_blob(client, repository, data)
                answer = put_manifest(client, repository, f"t{number}", payload)
            except (httpx.HTTPError, AssertionError):
                return
            if answer.status_code != 201:
                return
            acknowledged[f"t{number}"] = (payload, data)


def _running(instance: Registry) -> bool:
    """Start the instance again if it has ended; whether it is ready."""
    assert instance.process is not None
    if instance.process.poll() is not None:
        instance.launch()
    try:
        return httpx.get(f"{instance.url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_everything_goes_off_and_comes_back(cluster: Cluster) -> None:
    acknowledged: list[dict[str, tuple[bytes, bytes]]] = [{}, {}, {}, {}]
    pushing = [
        threading.Thread(target=_push, args=(cluster.instances[n % 2], f"library/p{n}", acknowledged[n]))
        for n in range(4)
    ]
    for thread in pushing:
        thread.start()
    until(lambda: all(len(item) > 2 for item in acknowledged), "pushes", seconds=60)
    cluster.database.kill()
    cluster.store.stop()
    for instance in cluster.instances:
        instance.kill()
    for thread in pushing:
        thread.join()

    for instance in cluster.instances:
        instance.launch()
    time.sleep(3)
    cluster.store.start()
    time.sleep(2)
    cluster.database.start()
    on = time.monotonic()
    for instance in cluster.instances:
        until(lambda instance=instance: _running(instance), "an instance is ready", seconds=120)  # type: ignore[misc]
    assert time.monotonic() - on < 90
    for number, items in enumerate(acknowledged):
        with connect(cluster.instances[(number + 1) % 2]) as client:
            for tag, (payload, data) in items.items():
                assert client.get(f"/v2/library/p{number}/manifests/{tag}").content == payload
                assert client.get(f"/v2/library/p{number}/blobs/{digest_of(data)}").content == data
            data = os.urandom(100)
            push_blob(client, "library/after", data)
            assert put_manifest(client, "library/after", "v1", image([data])).status_code == 201
    assert cluster.instances[0].cli("fsck").returncode == 0
    # The job runner came back with its instance.
    until(lambda: cluster.instances[0].api("GET", "/health").json()["status"] == "healthy", "healthy")
