"""Whether a port can be listened at, asked before a server starts or an installation begins."""

from __future__ import annotations

import socket


def listen_fault(host: str, port: int) -> OSError | None:
    """None, or why nobody can listen at the port now; socket.gaierror for a wrong `host`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    except OSError as error:
        return error
    family, kind, protocol, _, address = found[0]
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def free_port(host: str) -> int:
    """A port at `host` that nobody listens at now; `listen_fault(host, 0)` must have been None."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])
