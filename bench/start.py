"""How long starts take and what an idle instance needs, beside docker-registry: `python -m bench.start`.

Medians. `serve` is ready when it answers /healthz (docker-registry: /v2/). Memory is the proportional set
size of the whole process tree after it was idle for a while: shared pages are counted once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.host import Process, free_port, missing_packages
from bench.targets import start_registry

SEAWALL = [sys.executable, "-m", "seawall"]
_IDLE_SECONDS = 20


def main() -> int:
    """Run; exit code 0 unless something is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if "docker-registry" in missing_packages():
        print("bench: install this Debian package first: docker-registry", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="seawall-bench-"))
    try:
        rows = [
            ("seawall version", "s", _median(rounds, _version), None),
            (
                "serve, first start",
                "s",
                _median(rounds, lambda: _serve(root / str(time.monotonic_ns()))[0]),
                _median(rounds, lambda: _registry(root / str(time.monotonic_ns()))[0]),
            ),
            ("serve, later start", "s", _median(rounds, lambda: _serve(root / "kept")[0]), None),
            (
                "idle memory",
                "MiB",
                _serve(root / "idle", _IDLE_SECONDS)[1] / 2**20,
                _registry(root / "peer", _IDLE_SECONDS)[1] / 2**20,
            ),
        ]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors\n")
    print("| | unit | Seawall | docker-registry |\n|---|---|--:|--:|")
    for name, unit, ours, theirs in rows:
        print(f"| {name} | {unit} | {ours:.2f} | {'' if theirs is None else f'{theirs:.2f}'} |")
    return 0


def _median(rounds: int, measure: Callable[[], float]) -> float:
    measure()  # what is read for the first time comes from the disk
    return statistics.median(measure() for _ in range(rounds))


def _version() -> float:
    started = time.perf_counter()
    subprocess.run([*SEAWALL, "version"], check=True, capture_output=True)
    return time.perf_counter() - started


def _serve(data: Path, idle: float = 0) -> tuple[float, int]:
    """(seconds until ready, bytes of memory after `idle` seconds)"""
    data.mkdir(exist_ok=True)
    port = free_port()
    environment = {"SEAWALL_DATA_DIR": str(data / "data"), "SEAWALL_ADMIN_PASSWORD": "Bench-12345"}
    started = time.perf_counter()
    process = Process(
        [*SEAWALL, "serve", "--port", str(port)], port, data / "log", environment, settle_seconds=0
    )
    return _ready(process, f"http://127.0.0.1:{port}/healthz", started, idle)


def _registry(data: Path, idle: float = 0) -> tuple[float, int]:
    started = time.perf_counter()
    target = start_registry(data, quiet=True, settle_seconds=0)
    return _ready(target.process, f"http://127.0.0.1:{target.port}/v2/", started, idle)


def _ready(process: Process, url: str, started: float, idle: float) -> tuple[float, int]:
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.01)
        took = time.perf_counter() - started
        time.sleep(idle)
        return took, process.memory()
    finally:
        process.stop()


if __name__ == "__main__":
    sys.exit(main())
