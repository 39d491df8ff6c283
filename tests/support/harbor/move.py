"""A Harbor, its registry and the Seawall that takes over from them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.harbor.database import SECRET_KEY, Harbor
from tests.support.oci.remote import Signed
from tests.support.registry import Registry
from tests.support.servers.docker_registry import DockerRegistry


@dataclass
class Move:
    """A Harbor, its Distribution, and the Seawall that takes them over."""

    harbor: Harbor
    old: DockerRegistry
    signed: Signed
    new: Registry
    projects: dict[str, int]

    @property
    def tree(self) -> Path:
        return self.old.root / "data"

    def run(self, *arguments: str, code: int = 0, key: str = SECRET_KEY) -> dict[str, Any]:
        """Run the command; returns its report."""
        done = self.command("--json", *arguments, key=key)
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def command(self, *arguments: str, key: str = SECRET_KEY) -> subprocess.CompletedProcess[str]:
        self.new.environment |= {
            "SEAWALL_HARBOR_SECRET_KEY": key,
            "SEAWALL_HARBOR_DATABASE": self.harbor.url,
        }
        done = self.new.cli("adopt-harbor", *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def snapshot(self) -> dict[str, tuple[int, float]]:
        """Size and time of every file of the Distribution's."""
        root = self.tree / "docker"
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in root.rglob("*")
            if path.is_file()
        }


def pulls(url: str, repository: str, tag: str, user: str, secret: str) -> int:
    """Whether skopeo gets the image with these credentials: its exit code."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", f"{user}:{secret}"]
    address = f"docker://{url.removeprefix('http://')}/{repository}:{tag}"
    return subprocess.run([*command, address], capture_output=True, check=False, timeout=60).returncode
