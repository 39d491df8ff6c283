"""What every program that a test starts needs: a port, an environment, the command line."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import sys
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Seawall-12345"
SEAWALL = [sys.executable, "-m", "seawall"]

# Below the range that the kernel takes the ports of outgoing connections from; a Redis Cluster also takes its
# port + 10000.
_PORTS = range(12_000, 22_000)
# Locks on the ports that this process chose last: no other run of tests on this machine chooses them too.
_chosen: deque[int] = deque()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on and that no other test has chosen lately."""
    # Not the run's own temporary folder: runs side by side may have different ones.
    folder = Path("/tmp/seawall-test-ports")
    folder.mkdir(exist_ok=True)
    while len(_chosen) > 300:
        os.close(_chosen.popleft())
    # A host of another namespace has an address that is not ours.
    own = host if host.startswith("127.") else ""
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o666)
        with socket.socket() as probe:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind((own, port))
            except OSError:
                os.close(lock)
                continue
        _chosen.append(lock)
        return port
    raise AssertionError("no free port")


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without Seawall settings, plus `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEAWALL_", "PROMETHEUS_"))}
    return {**kept, **extra}


def listening(port: int) -> bool:
    """Whether something takes connections on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
