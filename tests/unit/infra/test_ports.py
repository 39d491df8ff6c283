"""The question whether a port is free, on this host's loopback."""

from __future__ import annotations

import errno
import socket

import pytest

from seawall.infra.ports import listen_fault


def test_free_and_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        fault = listen_fault("127.0.0.1", port)
        assert fault is not None
        assert fault.errno == errno.EADDRINUSE
    assert listen_fault("127.0.0.1", port) is None


@pytest.mark.parametrize("host", ["no such host", "a" * 70, "x..y"])
def test_what_is_no_host(host: str) -> None:
    assert isinstance(listen_fault(host, 0), socket.gaierror)


def test_an_address_of_another_host() -> None:
    fault = listen_fault("192.0.2.1", 0)
    assert fault is not None
    assert fault.errno == errno.EADDRNOTAVAIL
