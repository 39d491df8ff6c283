"""Leaving the balancer before leaving: after SIGTERM `/readyz` says no for a while before the server stops.

The balancer sees it and sends its requests elsewhere, so none of them meets a closed port or a connection
that is closed under it. HAProxy cuts what still runs at a server whose port is closed, so the port stays open
until running transfers have ended (or have had their time).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

from seawall.availability.cluster.health import DRAIN_VARIABLE
from seawall.infra.settings import Http
from seawall.infra.temporary import ensure

# The gauge of requests that are being served, by all server processes (app.py).
ACTIVE_NAME = "seawall_http_requests_active"
_LOOK_SECONDS = 0.1
_ESTABLISHED = "01"


def announce_drain(server: Any, http: Http) -> None:
    """Make `server` (Granian's) wait between the first SIGTERM or SIGINT and its stop, see Http.

    Its processes learn at once that it stops, so answers without an end end.
    """
    stop = server.signal_handler_interrupt
    told = False

    def wait() -> None:
        time.sleep(http.drain_notice_seconds)
        deadline = time.monotonic() + http.drain_transfer_seconds
        while time.monotonic() < deadline and transfers(http.port):
            time.sleep(_LOOK_SECONDS)
        stop()

    def interrupted(*arguments: Any) -> None:
        nonlocal told
        if told:  # twice: somebody is in a hurry
            stop(*arguments)
            return
        told = True
        drain = Path(os.environ[DRAIN_VARIABLE])
        # The balancer is not warned then, but the server ends as it was asked to.
        with contextlib.suppress(OSError):
            ensure(drain.parent)
            drain.touch()
        if http.drain_notice_seconds:
            threading.Thread(target=wait, daemon=True).start()
        else:
            stop(*arguments)

    server.signal_handler_interrupt = interrupted


def transfers(port: int) -> bool:
    """Whether a request is being served, or an answer's bytes are still waiting to be taken.

    A file that the kernel sends goes on after its request has ended for the application, so sockets are asked
    too (Linux, `/proc/net/tcp`: tx_queue).
    """
    # Decides at its import whether processes share their numbers, by a variable that is set after this
    # module's.
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    if (registry.get_sample_value(ACTIVE_NAME) or 0) > 0:
        return True
    return any(_sending(Path(table), port) for table in ("/proc/net/tcp", "/proc/net/tcp6"))


def _sending(table: Path, port: int) -> bool:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        fields = line.split()
        ours = fields[3] == _ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port
        if ours and int(fields[4].partition(":")[0], 16):
            return True
    return False
