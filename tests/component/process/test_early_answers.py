"""An answer that does not wait for the request's body reaches a client that sends all of it first."""

from __future__ import annotations

import os
import socket

import pytest

from tests.support.registry import Registry

BODY = 8 << 20


@pytest.mark.parametrize("headers", ["", "Authorization: Bearer wrong\r\n"], ids=["anonymous", "bad token"])
def test_a_refusal_reaches_a_client_that_still_sends(registry: Registry, headers: str) -> None:
    name = f"early-{os.urandom(4).hex()}"
    registry.create_project(name)
    for framing in (f"Content-Length: {BODY}", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", registry.port), 30) as connection:
            connection.settimeout(30)
            head = f"POST /v2/{name}/app/blobs/uploads/?digest=sha256:{'0' * 64} HTTP/1.1\r\nHost: x\r\n"
            connection.sendall(f"{head}{headers}{framing}\r\n\r\n".encode())
            for _ in range(BODY >> 16):
                piece = b"x" * 65536
                connection.sendall(b"10000\r\n" + piece + b"\r\n" if "chunked" in framing else piece)
            if "chunked" in framing:
                connection.sendall(b"0\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                received = connection.recv(65536)
                assert received, answer
                answer += received
            assert answer.startswith(b"HTTP/1.1 401 ")
            # The connection is good for the next request.
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
