"""Debian's docker-registry on loopback."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import httpx

from tests.support.processes import free_port

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: {quiet}}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: '127.0.0.1:{port}', secret: test}}
"""


class DockerRegistry:
    """Debian's docker-registry on loopback, or another `program` of CNCF Distribution's."""

    def __init__(self, root: Path, access_log: bool = False, program: str | None = None) -> None:
        program = program or shutil.which("docker-registry")
        assert program, "docker-registry is not installed; run .ci/packages.sh"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.root = self._root = root
        self._argv = [program, "serve", str(root / "config.yml")]
        (root / "config.yml").write_text(
            CONFIG.format(root=root / "data", port=self.port, quiet=str(not access_log).lower())
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, expect: int = 200) -> None:
        with (self._root / "log").open("ab") as log:
            self.process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/v2/").status_code == expect:
                    return
            time.sleep(0.05)
        raise AssertionError((self._root / "log").read_text())

    def log(self) -> str:
        return (self._root / "log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
