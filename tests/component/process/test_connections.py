"""Idle, slow and half-open connections cost memory only: health checks and pulls go on beside thousands."""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.registry import Registry

# `make chaos` runs it with 10,000.
IDLE = int(os.environ.get("SEAWALL_IDLE_CONNECTIONS", "2500"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Registry]:
    """One server process that ends silent bodies after two seconds."""
    found = Registry(
        tmp_path / "data",
        {
            "SEAWALL_HTTP__WORKERS": "1",
            "SEAWALL_HTTP__BODY_SILENCE_SECONDS": "2",
            "SEAWALL_HTTP__REQUESTS_PER_ADDRESS": "40",
            "SEAWALL_JOBS__EMBEDDED": "false",
            "SEAWALL_LOG__ACCESS": "false",
        },
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * IDLE + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * IDLE + 500), hard))
    found.start()
    try:
        yield found
    finally:
        found.kill()


def connected(server: Registry, data: bytes, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """`count` connections that have sent `data`."""
    found = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
        connection.sendall(data)
        found.append(connection)
    return found


def answers(server: Registry) -> float:
    """Longest time that a health check or a listing took."""
    longest = 0.0
    for path in ("/healthz", "/readyz", "/v2/_catalog"):
        began = time.monotonic()
        answer = httpx.get(server.url + path, auth=server.admin, timeout=20)
        assert answer.status_code == 200, answer.text
        longest = max(longest, time.monotonic() - began)
    return longest


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "data",
    [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["silent", "slowloris", "keep-alive"],
)
def test_thousands_of_idle_connections(server: Registry, data: bytes) -> None:
    with contextlib.ExitStack() as stack:
        connected(server, data, IDLE, stack)
        assert answers(server) < 10


@pytest.mark.timeout(120)
def test_bodies_that_stop_are_ended_and_one_address_is_bounded(server: Registry) -> None:
    start = httpx.post(f"{server.url}/v2/library/a/blobs/uploads/", auth=server.admin, timeout=20)
    assert start.status_code == 202
    path = start.headers["Location"].removeprefix(server.url)
    secret = httpx.BasicAuth(*server.admin)
    request = next(secret.auth_flow(httpx.Request("PATCH", server.url)))
    half = (
        f"PATCH {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {request.headers['authorization']}\r\n"
        "Content-Length: 1000\r\n\r\nhalf of it"
    ).encode()
    with contextlib.ExitStack() as stack:
        slow = connected(server, half, 60, stack)
        refused = answered = 0
        said = collections.Counter[bytes]()
        for _ in range(3):
            assert httpx.get(f"{server.url}/readyz", timeout=20).status_code == 200, "a lane is kept free"
        for connection in slow:
            connection.settimeout(30)
            status = connection.recv(200).partition(b"\r\n")[0]
            refused += b" 429 " in status
            answered += status.startswith(b"HTTP/1.1 4")
            said[status] += 1
        assert refused >= 10, "beyond forty at once, this address waits"
        assert answered == len(slow), f"a silent body keeps nobody waiting: {said}"
    # What arrived was kept, and the address may go on.
    progress = httpx.get(f"{server.url}{path}", auth=server.admin, timeout=20)
    assert progress.status_code == 204, progress.text


@pytest.mark.timeout(120)
def test_clients_that_read_nothing(server: Registry) -> None:
    """Slow read: the answers of thousands of requests that nobody takes."""
    with contextlib.ExitStack() as stack:
        many = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        connected(server, many, 300, stack)
        assert answers(server) < 10
