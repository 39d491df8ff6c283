"""What every program that a test starts needs: a port, an environment, the command line."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Seawall-12345"
SEAWALL = [sys.executable, "-m", "seawall"]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without Seawall settings, plus `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEAWALL_", "PROMETHEUS_"))}
    return {**kept, **extra}
