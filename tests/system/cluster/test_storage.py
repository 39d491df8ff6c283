"""Two instances on one PostgreSQL and one S3 server: sessions that move, one writer at a time, kill -9."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.registry import Registry
from tests.support.servers.postgres import Postgres
from tests.support.servers.swift import SwiftServer
from tests.support.waiting import until

MIB = 1024 * 1024


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def pair(
    postgres: Postgres, s3_server: SwiftServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registry, Registry]]:
    """Instances `a` and `b`, one server process each, without authentication."""
    tmp_path = tmp_path_factory.mktemp("instances")
    settings = {
        "SEAWALL_DATABASE__URL": postgres.migrated(),
        "SEAWALL_AUTH__MODE": "none",
        "SEAWALL_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
        "SEAWALL_HTTP__WORKERS": "1",
        **s3_server.settings(s3_server.bucket()),
    }
    instances = Registry(tmp_path / "a", settings), Registry(tmp_path / "b", settings)
    try:
        for instance in instances:
            instance.start()
        yield instances
    finally:
        for instance in instances:
            instance.close()


def on(instance: Registry, location: str) -> str:
    """The address of `location` on another instance, as a balancer would send it there."""
    return instance.url + httpx.URL(location).raw_path.decode()


@pytest.fixture(autouse=True)
def _running(pair: tuple[Registry, Registry]) -> None:
    for instance in pair:
        if instance.process is None:
            instance.start()


def start(instance: Registry, name: str = "test/repo") -> str:
    return httpx.post(f"{instance.url}/v2/{name}/blobs/uploads/").raise_for_status().headers["Location"]


def leased(instance: Registry, location: str) -> bool:
    """Whether somebody is writing to the session."""
    with psycopg.connect(instance.environment["SEAWALL_DATABASE__URL"]) as connection:
        found = connection.execute(
            "SELECT count(*) FROM upload_leases WHERE upload_id = %s", [location.rsplit("/", 1)[1]]
        ).fetchone()
    return found == (1,)


def test_session_goes_on_elsewhere_and_after_a_restart(pair: tuple[Registry, Registry]) -> None:
    a, b = pair
    chunks = [random.Random(n).randbytes(size) for n, size in enumerate([MIB, 12 * MIB, 5])]
    data = b"".join(chunks)
    location = start(a)
    offset = 0
    for number, chunk in enumerate(chunks):
        instance = (a, b)[number % 2]
        span = f"{offset}-{offset + len(chunk) - 1}"
        answer = httpx.patch(
            on(instance, location), content=chunk, headers={"Content-Range": span}, timeout=60
        )
        assert answer.status_code == 202, answer.text
        offset += len(chunk)
        assert answer.headers["Range"] == f"0-{offset - 1}"
        if number == 0:
            a.kill()
            a.start()
    assert httpx.get(on(a, location)).headers["Range"] == f"0-{offset - 1}"
    b.kill()
    closing = {"params": {"digest": sha256(data)}, "timeout": 60}
    assert httpx.put(on(a, location), **closing).status_code == 201  # type: ignore[arg-type]
    b.start()
    # A client whose instance died before it could answer asks another one again.
    assert httpx.put(on(b, location), **closing).status_code == 201  # type: ignore[arg-type]
    assert httpx.get(f"{b.url}/v2/test/repo/blobs/{sha256(data)}").content == data
    assert b.cli("fsck").returncode == 0


def test_one_writer_at_a_time(pair: tuple[Registry, Registry]) -> None:
    a, b = pair
    location = start(a)
    path = httpx.URL(location).raw_path.decode()
    with socket.create_connection(("127.0.0.1", a.port)) as slow:
        slow.sendall(f"PATCH {path} HTTP/1.1\r\nHost: {a.host}\r\nContent-Length: 10\r\n\r\nhello".encode())
        until(lambda: leased(a, location))
        answer = httpx.patch(on(b, location), content=b"other", timeout=30)
        assert answer.status_code == 409, answer.text
        assert answer.json()["errors"][0]["code"] == "BLOB_UPLOAD_INVALID"
        slow.sendall(b"world")
        assert b" 202 " in slow.recv(4096).split(b"\r\n")[0]
    # The first is done: the session is free again at once.
    answer = httpx.patch(on(b, location), content=b"!", timeout=30)
    assert answer.status_code == 202
    assert httpx.put(on(b, location), params={"digest": sha256(b"helloworld!")}).status_code == 201


def test_session_of_a_dead_instance_is_taken_over(pair: tuple[Registry, Registry]) -> None:
    a, b = pair
    location = start(a)
    httpx.patch(on(a, location), content=b"hello").raise_for_status()
    path = httpx.URL(location).raw_path.decode()
    with socket.create_connection(("127.0.0.1", a.port)) as slow:
        slow.sendall(f"PATCH {path} HTTP/1.1\r\nHost: {a.host}\r\nContent-Length: 10\r\n\r\nlost".encode())
        until(lambda: leased(a, location))
        a.kill()
    # No error for the client: its next request waits until the dead one's lease is over.
    answer = httpx.patch(on(b, location), content=b"world", headers={"Content-Range": "5-9"}, timeout=30)
    assert answer.status_code == 202, answer.text
    assert httpx.put(on(b, location), params={"digest": sha256(b"helloworld")}).status_code == 201


def test_cancelled_and_finished_sessions_leave_nothing(
    pair: tuple[Registry, Registry], s3_server: SwiftServer
) -> None:
    a, b = pair
    import obstore

    store = s3_server.store(a.environment["SEAWALL_STORAGE__S3__BUCKET"])

    def everything() -> set[str]:
        # Readiness checks put their probes elsewhere, at any time.
        found = obstore.list(store).collect()
        return {item["path"] for item in found if item["path"].startswith(("blobs/", "uploads/"))}

    before = everything()

    def objects() -> set[str]:
        return everything() - before

    location = start(a)
    httpx.patch(on(a, location), content=b"x" * 12 * MIB, timeout=60).raise_for_status()
    assert objects()
    assert httpx.delete(on(b, location)).status_code == 204
    assert objects() == set()
    location = start(a)
    httpx.patch(on(a, location), content=b"one").raise_for_status()
    answer = httpx.put(on(b, location), params={"digest": sha256(b"other")}, content=b"two")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "DIGEST_INVALID"
    assert objects() == set()
    # The same blob twice: one object stays.
    for instance in pair:
        location = start(instance)
        httpx.patch(on(a, location), content=b"same").raise_for_status()
        httpx.put(on(b, location), params={"digest": sha256(b"same")}).raise_for_status()
    assert len(objects()) == 1
    assert httpx.delete(f"{a.url}/v2/test/repo/blobs/{sha256(b'same')}").status_code == 202
    # The first run moves the blob to the trash, the second empties it.
    counts = [
        json.loads(b.cli("gc", "--json", "--grace-minutes", "0", "--reader-minutes", "0").stdout)
        for _ in range(2)
    ]
    assert counts[0]["blobs"] == counts[1]["deleted_files"] >= 1
    assert objects() == set()


def test_nothing_acknowledged_is_lost_on_s3(pair: tuple[Registry, Registry]) -> None:
    """Push through both while one after the other is killed; every acknowledged blob must be there."""
    acknowledged: dict[str, bytes] = {}
    stop = threading.Event()

    def push(worker: int) -> None:
        chance = random.Random(worker)
        while not stop.is_set():
            data = chance.randbytes(chance.choice([10, 50_000, 11 * MIB]))
            one, two = chance.choice([pair, pair[::-1]])
            try:
                with httpx.Client(timeout=20) as client:
                    location = client.post(f"{one.url}/v2/test/r{worker}/blobs/uploads/")
                    location.raise_for_status()
                    sent = client.patch(on(one, location.headers["Location"]), content=data)
                    sent.raise_for_status()
                    done = client.put(
                        on(two, sent.headers["Location"]), params={"digest": sha256(data)}
                    ).raise_for_status()
                    assert done.status_code == 201
                    acknowledged[f"r{worker}/blobs/{sha256(data)}"] = data
            except httpx.HTTPError:
                time.sleep(0.1)

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(push, worker) for worker in range(4)]
        chance = random.Random(7)
        try:
            for round_ in range(3):
                before = len(acknowledged)
                until(lambda before=before: len(acknowledged) > before + 2)  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.5))
                pair[round_ % 2].kill()
                pair[round_ % 2].start()
        finally:
            stop.set()
        for done in runs:
            done.result()
    assert len(acknowledged) > 5
    for path, data in acknowledged.items():
        answer = httpx.get(f"{pair[0].url}/v2/test/{path}", timeout=60)
        assert answer.status_code == 200, path
        assert answer.content == data, path
    check = pair[0].cli("fsck")
    assert check.returncode == 0, check.stdout


def test_memory_stays_flat(pair: tuple[Registry, Registry]) -> None:
    """512 MiB through one server process, up and down: its peak grows by a few parts, not by the blob."""
    a, _ = pair
    size = int(os.environ.get("SEAWALL_BIG_BLOB_MIB", "512"))
    block = random.Random(1).randbytes(MIB)
    running = hashlib.sha256()
    for number in range(size):
        running.update(number.to_bytes(4, "big") + block[4:])

    def body() -> Iterator[bytes]:
        for number in range(size):
            yield number.to_bytes(4, "big") + block[4:]

    for warm in (b"x" * 12 * MIB,):
        location = start(a)
        httpx.patch(location, content=warm, timeout=60).raise_for_status()
        httpx.put(location, params={"digest": sha256(warm)}, timeout=60).raise_for_status()
    before = _peak(a)
    location = start(a)
    httpx.patch(location, content=body(), timeout=300).raise_for_status()
    digest = "sha256:" + running.hexdigest()
    httpx.put(location, params={"digest": digest}, timeout=300).raise_for_status()
    received = hashlib.sha256()
    with httpx.stream("GET", f"{a.url}/v2/test/repo/blobs/{digest}", timeout=300) as answer:
        for chunk in answer.iter_bytes():
            received.update(chunk)
    assert received.digest() == running.digest()
    grown = _peak(a) - before
    print(f"\n{size} MiB blob: peak memory grew by {grown // MIB} MiB to {_peak(a) // MIB} MiB")
    assert grown < 200 * MIB


def _peak(instance: Registry) -> int:
    """Highest resident size so far (bytes) of any process of the instance."""
    assert instance.process is not None
    peak = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            group = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[2])
            if group == instance.process.pid:
                status = (entry / "status").read_text()
                peak = max(peak, int(status.split("VmHWM:")[1].split()[0]) * 1024)
        except (OSError, IndexError):
            continue
    return peak
