"""Real load balancers over configurations of Seawall's."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


class BalancerServer:
    """HAProxy or nginx (`kind`) running a configuration text."""

    def __init__(
        self, kind: str, port: int, *, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self.host = host
        self.port = port
        self.root = Path(tempfile.mkdtemp(prefix="seawall-lb-"))
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    def _command(self, text: str) -> tuple[list[str], list[str]]:
        """(command that checks, command that serves)."""
        file = self.root / f"{self.kind}.conf"
        file.write_text(text)
        if self.kind == "haproxy":
            return ["haproxy", "-c", "-f", str(file)], ["haproxy", "-db", "-f", str(file)]
        outer = self.root / "main.conf"
        places = "".join(
            f"{name}_temp_path {self.root}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        outer.write_text(
            f"daemon off;\npid {self.root}/pid;\nerror_log {self.root}/error.log;\nworker_processes 2;\n"
            f"user root;\nevents {{}}\nhttp {{\naccess_log off;\n{places}include {file};\n}}\n"
        )
        base = ["nginx", "-p", str(self.root), "-c", str(outer), "-e", str(self.root / "error.log")]
        return [*base, "-t"], base

    def check(self, text: str) -> None:
        """Let the balancer itself judge the configuration."""
        done = subprocess.run(self._command(text)[0], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warn" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr

    def start(self, text: str) -> None:
        """Serve, and wait until the port is open."""
        self.check(text)
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, *self._command(text)[1]],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self._prefix:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """What it wrote."""
        files = [self.root / "log", self.root / "error.log"]
        return "\n".join(file.read_text()[-4000:] for file in files if file.exists())

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
