"""A host on which docs/install/guide.md is followed: its /opt/harbor and /data are folders here."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support import forked
from tests.support.deploy.docs import Page
from tests.support.docs import warm
from tests.support.processes import PASSWORD, clean_environment, free_port

COMMANDS = Page("guide.md").all("sh")


def block(part: str, *, without: str = "\0") -> str:
    """The block of the page with `part` in it, and not `without`."""
    (found,) = [command for command in COMMANDS if part in command and without not in command]
    return found


PREPARE = block("prepare --conf", without="cp -rp")


def programs(root: Path, *more: Path | str) -> dict[str, str]:
    """An environment whose PATH has `seawall`, and the folders `more`."""
    folder = root / "bin"
    folder.mkdir()
    command = f"{sys.executable} -IS {warm.__file__} {warm.started()}"
    (folder / "seawall").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (folder / "seawall").chmod(0o755)
    path = ":".join([str(folder), *map(str, more), os.environ["PATH"]])
    return clean_environment(PATH=path, PASSWORD=PASSWORD)


class Host:
    """Runs the page's blocks; listens on a port of its own."""

    def __init__(self, root: Path, environment: dict[str, str], authority: Path) -> None:
        """`authority`: the balancer's, in PEM."""
        self.root = root
        self.environment = environment
        self.harbor = root / "harbor"
        self.data = root / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: list[forked.Forked | subprocess.Popen[bytes]] = []
        self.harbor.mkdir(parents=True)
        data = importlib.resources.files("seawall.install") / "data"
        with importlib.resources.as_file(data / "prepare") as script:
            shutil.copy(script, self.harbor)
        shutil.copy(authority, self.harbor / "ca.crt")

    def write(self, settings: Mapping[str, Any]) -> None:
        """Write the host's harbor.yml."""
        (self.harbor / "harbor.yml").write_text(yaml.safe_dump(dict(settings), sort_keys=False))

    def located(self, script: str) -> str:
        """The block with places of this machine instead of the page's."""
        script = re.sub(r"(?<![\w/.-])/data/", f"{self.data}/", script)
        return script.replace("/opt/harbor", str(self.harbor))

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a block of the page on this host; what it prints."""
        done = self._run(script)
        assert not check or done.returncode == 0, script + done.stdout + done.stderr
        return done.stdout

    def succeeds(self, script: str) -> bool:
        """Run a block of the page on this host; whether it ends with 0."""
        return self._run(script).returncode == 0

    def _run(self, script: str) -> subprocess.CompletedProcess[str]:
        script = self.located(script)
        assert "example.com" not in script, script
        done = subprocess.run(
            ["bash", "-euc", script],
            capture_output=True, text=True, timeout=300, check=False, cwd=self.harbor, env=self.environment,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    def start(self) -> None:
        """What `systemctl start seawall seawall-jobservice` starts: the units' own commands."""
        for name in ("seawall", "seawall-jobservice"):
            unit = (self.harbor / f"systemd/{name}.service").read_text()
            (command,) = re.findall(r"^ExecStart=\S+/venv/bin/seawall (.*)$", unit, re.MULTILINE)
            with (self.root / f"{name}.out").open("ab") as out:
                self.processes.append(
                    forked.started(command.split(), clean_environment(), self.root, out.fileno())
                )

    def wait_ready(self) -> None:
        """Wait until the instance is ready."""
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200:
                    return
            output = (self.root / "seawall.out").read_text()[-3000:]
            assert self.processes[0].poll() is None, output
            assert time.monotonic() < deadline, output
            time.sleep(0.5)

    def stop(self) -> None:
        """As `systemctl stop` does."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(120)
        self.processes.clear()

    def kill(self) -> None:
        """As a power cut does."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()


def skopeo(*arguments: str) -> None:
    """Run skopeo; it must succeed."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
