"""Temporary files of a running server are tidied up by others, as systemd-tmpfiles and tmpreaper do."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from seawall.infra import temporary
from tests.support.processes import free_port
from tests.support.waiting import until


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    # Where its temporary files are.
    temporary: Path
    log: Path

    @property
    def metrics(self) -> Path:
        [folder] = self.temporary.glob("seawall-metrics-*")
        return folder

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def children(self, name: str) -> set[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in text.split() if Path(f"/proc/{pid}/comm").read_text().strip() == name}

    @property
    def counted(self) -> float:
        """Requests that `/metrics` knows of."""
        lines = self.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("seawall_http_requests_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder, log, port = tmp_path / "temporary", tmp_path / "log", free_port()
    folder.mkdir()
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "seawall", "serve", "--data-dir", "data", "--port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=out,
            stderr=out,
            text=True,
        )
    found = Server(process, f"http://127.0.0.1:{port}", folder, log)
    until(lambda: found.get("/readyz").is_success, ignoring=(httpx.TransportError,))
    yield found
    process.kill()
    process.wait()


def test_the_folder_of_metrics_is_removed(server: Server) -> None:
    server.get("/v2/")
    assert server.counted > 0
    # systemd-tmpfiles leaves it alone: it cannot lock it.
    with pytest.raises(BlockingIOError):
        fcntl.flock(os.open(server.metrics, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    shutil.rmtree(server.metrics)
    assert server.get("/metrics").status_code == 200

    def counted_again() -> bool:
        server.get("/v2/")
        return server.counted > 0

    until(counted_again, "what living processes count is never seen again")

    # A process that ends is replaced, also when the folder is gone.
    shutil.rmtree(server.metrics)
    before = server.children("python") | server.children("seawall")
    os.kill(min(before), signal.SIGKILL)

    def replaced() -> bool:
        new = (server.children("python") | server.children("seawall")) - before
        # Counters and three kinds of gauges: it has begun.
        return any(len(list(server.metrics.glob(f"*_{pid}.db"))) >= 4 for pid in new)

    until(replaced, ignoring=(OSError, ValueError))
    assert server.get("/readyz").is_success
    shutil.rmtree(server.metrics, ignore_errors=True)
    server.process.terminate()
    assert server.process.wait(120) == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_folder_that_somebody_else_made_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    temporary.ensure(folder)
    temporary.ensure(folder)
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        temporary.ensure(folder)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        temporary.ensure(folder)
