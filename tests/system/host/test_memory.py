"""A blob's size does not show in the server's memory, pushed or pulled.

`SEAWALL_MEMORY_GIB` sets the size (1 GiB unless told; `make memory` takes 10).
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.support.registry import Registry
from tests.support.servers.swift import SwiftServer

MIB = 1024 * 1024
SIZE = int(float(os.environ.get("SEAWALL_MEMORY_GIB", "1")) * 1024) * MIB
# What a request may cost on top of an idle server: a few batches in flight in each of its processes.
ALLOWED = 96 * MIB


def peak_memory(leader: int) -> int:
    """Sum of the highest resident memory (bytes) each process of the server has had."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            session = int((status.parent / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader:
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
                total += int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
        except OSError:
            continue  # the process ended while it was being read
    return total


def content() -> Iterator[bytes]:
    """SIZE bytes, no two MiB of them alike."""
    block = bytearray(os.urandom(MIB))
    for number in range(SIZE // MIB):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


def test_memory_is_flat(fresh_registry: Registry) -> None:
    # A job runner that is still starting would count as growth.
    fresh_registry.environment["SEAWALL_JOBS__EMBEDDED"] = "false"
    fresh_registry.start()
    assert fresh_registry.process is not None
    url = f"{fresh_registry.url}/v2/library/large"
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for part in content():
            digest.update(part)
            yield part

    with httpx.Client(auth=fresh_registry.admin, timeout=600) as client:
        for _ in range(20):
            assert client.get(f"{fresh_registry.url}/v2/").status_code == 200
        before = peak_memory(fresh_registry.process.pid)
        session = client.post(f"{url}/blobs/uploads/").headers["Location"]
        pushed = client.patch(session, content=body())
        assert pushed.status_code == 202, pushed.text
        name = f"sha256:{digest.hexdigest()}"
        done = client.put(pushed.headers["Location"], params={"digest": name})
        assert done.status_code == 201, done.text
        pulled = hashlib.sha256()
        with client.stream("GET", f"{url}/blobs/{name}") as answer:
            for part in answer.iter_bytes(MIB):
                pulled.update(part)
        assert pulled.hexdigest() == digest.hexdigest()
        # A range is read by Python in pieces, the other path that must stay flat.
        with client.stream("GET", f"{url}/blobs/{name}", headers={"Range": "bytes=1-"}) as answer:
            assert answer.status_code == 206
            assert sum(len(part) for part in answer.iter_bytes(MIB)) == SIZE - 1
    grown = peak_memory(fresh_registry.process.pid) - before
    assert grown < ALLOWED, f"{grown / MIB:.0f} MiB more for a blob of {SIZE / MIB:.0f} MiB"


def test_slow_uploads_are_bounded_in_all(tmp_path: Path, s3_server: SwiftServer) -> None:
    """Clients send 9 MB each to an object store and stall before the end; all of them get their answer."""
    clients, size = 60, 9_500_000
    settings = {**s3_server.settings(s3_server.bucket()), "SEAWALL_STORAGE__UPLOAD_MEMORY": str(64 * MIB)}
    registry = Registry(
        tmp_path / "data", {**settings, "SEAWALL_JOBS__EMBEDDED": "false", "SEAWALL_HTTP__WORKERS": "1"}
    )
    connections: list[socket.socket] = []
    try:
        registry.start()
        assert registry.process is not None
        with httpx.Client(auth=registry.admin, timeout=60) as client:
            scope = {"service": "seawall", "scope": "repository:library/slow:pull,push"}
            token = client.get(f"{registry.url}/service/token", params=scope).json()["token"]
            before = peak_memory(registry.process.pid)
            for _ in range(clients):
                session = client.post(f"{registry.url}/v2/library/slow/blobs/uploads/").headers["Location"]
                connection = socket.create_connection(("127.0.0.1", registry.port), timeout=120)
                connections.append(connection)
                head = (
                    f"PATCH {httpx.URL(session).raw_path.decode()} HTTP/1.1\r\nHost: {registry.host}\r\n"
                    f"Authorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
                )
                connection.sendall(head.encode() + bytes(size - 1))
            held = peak_memory(registry.process.pid) - before
            for connection in connections:
                connection.sendall(b"x")
            answers = [connection.recv(12) for connection in connections]
        assert answers == [b"HTTP/1.1 202"] * clients
        # 64 MiB may wait and be sent; the rest is what the interpreter and its threads keep of it.
        assert held < 192 * MIB, f"{held / MIB:.0f} MiB"
        assert peak_memory(registry.process.pid) - before < 320 * MIB
    finally:
        for connection in connections:
            connection.close()
        registry.close()
