"""Leaving the balancer before leaving: after SIGTERM `/readyz` says no for a while before the server stops.

The balancer sees it and sends its requests elsewhere, so none of them meets a closed port or a connection
that is closed under it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from seawall.ha.health import DRAIN_VARIABLE


def announce_drain(server: Any, seconds: float) -> None:
    """Make `server` (Granian's) wait `seconds` between the first SIGTERM or SIGINT and its stop."""
    if not seconds:
        return
    stop = server.signal_handler_interrupt
    told = False

    def interrupted(*arguments: Any) -> None:
        nonlocal told
        if told:  # twice: somebody is in a hurry
            stop(*arguments)
            return
        told = True
        Path(os.environ[DRAIN_VARIABLE]).touch()
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()

    server.signal_handler_interrupt = interrupted
