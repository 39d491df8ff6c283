"""An object store that answers 500 or 503 SlowDown, hangs, or ends bodies too soon, under load."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.bare import connect, image, put_manifest
from tests.support.registry import Registry
from tests.support.servers.faulty_store import Fault, FaultyStore
from tests.support.servers.swift import SwiftServer

# Larger than what is kept in memory, so that each pull reads from the store.
_SIZE = 100_000
_FAULT_SECONDS = 5.0
_FAULTS: tuple[Fault, ...] = ("500", "slow", "hangs", "cuts")


@pytest.fixture
def store(s3_server: SwiftServer) -> Iterator[FaultyStore]:
    made = FaultyStore(s3_server.url)
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def served(store: FaultyStore, s3_server: SwiftServer, tmp_path: Path) -> Iterator[Registry]:
    settings = s3_server.settings(s3_server.bucket())
    settings = {name: value.replace(s3_server.url, store.url) for name, value in settings.items()}
    registry = Registry(tmp_path / "data", settings)
    registry.start()
    try:
        yield registry
    finally:
        store.fault = "none"
        registry.close()


class Load(threading.Thread):
    """Pushes images and pulls what was acknowledged, one after the other; never stops at an error."""

    def __init__(self, server: Registry, name: str) -> None:
        super().__init__()
        self.repository = f"library/{name}"
        self.acknowledged: dict[str, tuple[bytes, bytes]] = {}
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        # When the last operation succeeded (monotonic seconds).
        self.well = 0.0
        self.ending = threading.Event()
        self._server = server

    def run(self) -> None:
        number = 0
        with connect(self._server) as client:
            while not self.ending.is_set():
                number += 1
                try:
                    if self._push(client, f"t{number}") and self._pull(client):
                        self.well = time.monotonic()
                except httpx.HTTPError:
                    self.statuses[0] += 1
                except Exception as error:
                    self.wrong.append(repr(error))

    def _push(self, client: httpx.Client, tag: str) -> bool:
        data = os.urandom(_SIZE)
        url = f"/v2/{self.repository}/blobs/uploads/"
        answer = client.post(url, params={"digest": digest_of(data)}, content=data)
        self.statuses[answer.status_code] += 1
        if answer.status_code != 201:
            return False
        payload = image([data])
        answer = put_manifest(client, self.repository, tag, payload)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            self.acknowledged[tag] = (payload, data)
        return answer.status_code == 201

    def _pull(self, client: httpx.Client) -> bool:
        tag = list(self.acknowledged)[-1]
        _, data = self.acknowledged[tag]
        answer = client.get(f"/v2/{self.repository}/blobs/{digest_of(data)}")
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200 and answer.content != data:
            self.wrong.append(f"{tag}: {len(answer.content)} bytes with 200")
        return answer.status_code == 200


def test_nothing_is_lost_and_it_goes_on(served: Registry, store: FaultyStore) -> None:
    loads = [Load(served, f"l{number}") for number in range(3)]
    for load in loads:
        load.start()
    late: list[str] = []
    try:
        time.sleep(2)
        for fault in _FAULTS:
            store.fault = fault
            time.sleep(_FAULT_SECONDS)
            store.fault = "none"
            ended = time.monotonic()
            while any(load.well < ended for load in loads):
                if time.monotonic() - ended > 20:
                    late.append(fault)
                    break
                time.sleep(0.05)
    finally:
        for load in loads:
            load.ending.set()
        for load in loads:
            load.join()
    seen = sum((load.statuses for load in loads), Counter[int]())
    assert [load.wrong for load in loads] == [[], [], []]
    assert not late
    assert all(store.hit[fault] for fault in _FAULTS), store.hit
    # Refused with a reason, or the connection ends within a body; never an error of ours.
    assert set(seen) <= {0, 200, 201, 503}, seen
    assert seen[503], "the faults were felt"
    with connect(served) as client:
        for load in loads:
            for tag, (payload, data) in load.acknowledged.items():
                assert client.get(f"/v2/{load.repository}/manifests/{tag}").content == payload
                assert client.get(f"/v2/{load.repository}/blobs/{digest_of(data)}").content == data
    done = served.cli("fsck")
    assert done.returncode == 0, done.stdout
