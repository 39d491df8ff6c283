"""Processes of a benchmark: start on a free loopback port, wait, measure memory, stop by process id."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

# The program that each Debian package of packages.txt brings; /usr/sbin is not on every user's PATH.
_PROGRAMS = {"docker-registry": "docker-registry", "nginx-light": "nginx", "wrk": "wrk"}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def missing_packages() -> list[str]:
    """Debian packages of bench/packages.txt whose program is not installed."""
    wanted = (Path(__file__).parent / "packages.txt").read_text().split()
    return [name for name in wanted if shutil.which(_PROGRAMS[name], path=_PATH) is None]


def program(name: str) -> str:
    """Absolute path of an installed program. Raises FileNotFoundError."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise FileNotFoundError(name)
    return found


def random_password() -> str:
    """A password that the rules for passwords accept, whatever is drawn."""
    return secrets.token_urlsafe(16) + "Aa1"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A server process of the benchmark's own, with the processes it starts."""

    def __init__(
        self, argv: list[str], port: int, log: Path, environment: dict[str, str], settle_seconds: float = 1
    ) -> None:
        """Start `argv` and wait until it accepts connections on `port`. Raises RuntimeError.

        `settle_seconds`: time for the other worker processes of the server to come up.
        """
        self.log = log
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEAWALL_", "PROMETHEUS_"))}
        with log.open("ab") as output:
            # A group of its own, so that a server that will not end takes its workers along.
            self._process = subprocess.Popen(
                argv,
                env={**kept, **environment},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=log.parent,
            )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                time.sleep(settle_seconds)
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{Path(argv[0]).name} did not start: {log.read_text()[-500:]}")

    def stop(self) -> None:
        """SIGTERM; SIGKILL to the process group when that does not end it."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def tree(self) -> list[int]:
        """Ids of the process and all below it."""
        return _tree(self._process.pid)

    def memory(self) -> int:
        """Proportional set size of the tree now, in bytes: shared pages are counted once."""
        return proportional_memory(self._process.pid)

    def peak_memory(self) -> int:
        """Sum of the tree's highest resident sizes (VmHWM) in bytes; shared pages count in each process."""
        return sum(_kilobytes(f"/proc/{pid}/status", "VmHWM") for pid in self.tree()) * 1024

    def cpu_seconds(self) -> float:
        """Processor time, user and system, that the tree's living processes have used."""
        return cpu_seconds(self._process.pid)


class MemorySampler:
    """Context that samples a process tree's memory ten times a second; `peak` is in bytes."""

    def __init__(self, process: Process) -> None:
        self.peak = 0
        self._process = process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, self._process.memory())
            if self._done.wait(0.1):
                return


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that a process and those below it have used, as far as they live."""
    total = 0
    for item in _tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{item}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def proportional_memory(pid: int) -> int:
    """Proportional set size of a process and all below it, in bytes: shared pages are counted once."""
    return sum(_kilobytes(f"/proc/{child}/smaps_rollup", "Pss") for child in _tree(pid)) * 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += _tree(int(child))
    return found


def _kilobytes(file: str, field: str) -> int:
    with contextlib.suppress(OSError):
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(file).read_text(), re.MULTILINE)
        if match:
            return int(match[1])
    return 0
