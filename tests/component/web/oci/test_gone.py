"""Clients that give up leave the lines of a real server: those that ask again find room."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.availability.cluster.balancer import KINDS
from tests.support.digests import digest_of
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.waiting import until

WAITING = 4


@pytest.fixture(params=["", *KINDS], ids=["direct", *KINDS])
def port(request: pytest.FixtureRequest, server: Registry) -> Iterator[int]:
    """Where clients connect to: the server, or a balancer with the configuration that is printed for it."""
    if not request.param:
        yield server.port
        return
    front = free_port()
    argv = ("ha", "lb-config", request.param, "--bind", f"127.0.0.1:{front}", "--instance", server.url)
    printed = server.cli(*argv, "--external-url", f"http://127.0.0.1:{front}")
    assert printed.returncode == 0, printed.stderr
    balancer = BalancerServer(request.param, front)
    try:
        balancer.start(printed.stdout)
        yield front
    finally:
        balancer.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Registry]:
    """One place for pushes, and a short line before it."""
    found = Registry(
        tmp_path / "data",
        {
            "SEAWALL_HTTP__PUSHES": "1",
            "SEAWALL_HTTP__PUSHES_WAITING": str(WAITING),
            "SEAWALL_JOBS__EMBEDDED": "false",
        },
    )
    found.start()
    found.create_project("team")
    # What a first push and a first login of this process do once.
    with push(found, found.port) as connection:
        assert status(connection) == "202"
    try:
        yield found
    finally:
        found.close()


def push(
    server: Registry, port: int, sent: int = 0, length: int = 0, digest: str = f"sha256:{'0' * 64}"
) -> socket.socket:
    """A connection that begins an upload, and has sent so many bytes of a body of `length`.

    With a body the upload ends with it, and is written to the database when the digest is right.
    """
    basic = base64.b64encode(":".join(server.admin).encode()).decode()
    query = f"?digest={digest}" if length else ""
    head = (
        f"POST /v2/team/app/blobs/uploads/{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port), 60)
    connection.settimeout(60)
    connection.sendall(head.encode() + b"x" * sent)
    return connection


def status(connection: socket.socket) -> str:
    """The answer's status; waits for it."""
    return connection.recv(65536).split(b" ")[1].decode()


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that have got an answer."""
    return select.select(connections, [], [], 0)[0]


@pytest.mark.parametrize(("sent", "length"), [(0, 0), (100, 100), (100, 1000)], ids=["none", "whole", "part"])
def test_clients_that_give_up_leave_the_line(server: Registry, port: int, sent: int, length: int) -> None:
    with contextlib.ExitStack() as stack:
        # The place is taken for as long as the database takes no writes.
        database = stack.enter_context(
            contextlib.closing(sqlite3.connect(server.data_dir / "seawall.db", isolation_level=None))
        )
        database.execute("BEGIN IMMEDIATE")
        held = stack.enter_context(push(server, port, 100, 100, digest_of(b"x" * 100)))
        time.sleep(0.3)
        # One more than the line takes.
        waiting = [stack.enter_context(push(server, port, sent, length)) for _ in range(WAITING + 1)]
        refused = until(lambda: answered(waiting), lambda: server.log.read_text()[-3000:], 20)
        assert [status(connection) for connection in refused] == ["429"]
        for connection in waiting:
            connection.close()
        time.sleep(0.5)
        again = [stack.enter_context(push(server, port)) for _ in range(WAITING)]
        time.sleep(0.5)
        assert not answered(again), "those that have gone are in the line"
        database.execute("COMMIT")
        assert [status(connection) for connection in [held, *again]] == ["201", *["202"] * WAITING]
    log = server.log.read_text()
    assert log.count('"status": 499') >= WAITING, log
    assert '"level": "error"' not in log
    assert "never retrieved" not in log
