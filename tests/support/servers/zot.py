"""A zot that somebody has built, on loopback: the Go module proxy has no version of it that builds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import httpx

from tests.support.processes import free_port

# Names the program. Without it nothing is tested with zot.
VARIABLE = "SEAWALL_TEST_ZOT"


def program() -> str | None:
    """The zot to test with."""
    return os.environ.get(VARIABLE) or None


class Zot:
    """zot on a folder, without users."""

    def __init__(self, root: Path, program: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._root = root
        self._argv = [program, "serve", str(root / "config.json")]
        config = {
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": str(root / "data"), "gc": False, "dedupe": False},
            "http": {"address": "127.0.0.1", "port": str(self.port)},
            "log": {"level": "error"},
        }
        (root / "config.json").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/v2/").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError((self._root / "log").read_text())

    def version(self) -> str:
        """What it calls itself."""
        told = subprocess.run([self._argv[0], "--version"], capture_output=True, text=True, check=False)
        return told.stdout.strip() or told.stderr.strip()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
