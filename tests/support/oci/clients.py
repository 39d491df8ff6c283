"""What tests of client programs share: a project with its users, and a shell."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.registry import Registry

# What a client prints when a registry turns it away; each words it in its own way.
REFUSED = re.compile(
    r"unauthorized|denied|authentication required|(invalid|incorrect) username( or |/)password|\b40[13]\b",
    re.IGNORECASE,
)


@dataclass
class Team:
    """A private and a public project, a developer of both, a guest of both, a machine account."""

    registry: Registry
    private: str
    public: str
    developer: tuple[str, str]
    guest: tuple[str, str]
    machine: tuple[str, str]
    stranger: tuple[str, str]

    def name(self, repository: str, *, public: bool = False) -> str:
        """host:port/project/repository, the way image clients write it."""
        return f"{self.registry.host}/{self.public if public else self.private}/{repository}"


class Shell:
    """Runs a client with a HOME and credential files of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "DOCKER_CONFIG": str(home / "docker"),
            "REGISTRY_AUTH_FILE": str(home / "auth.json"),
            "TMPDIR": str(home / "tmp"),
        }
        for folder in ("run", "config", "data", "docker", "tmp"):
            (home / folder).mkdir()
        (home / "run").chmod(0o700)
        # podman stops at once when the file that it was told of is not there.
        (home / "auth.json").write_text("{}")

    def __call__(self, *command: str | Path, stdin: str | None = None) -> str:
        """Run; the client must succeed. Returns its standard output."""
        done = self._run(command, stdin)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout

    def both(self, *command: str | Path, stdin: str | None = None) -> str:
        """Run; the client must succeed. Returns all that it said."""
        done = self._run(command, stdin)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout + done.stderr

    def refused(self, *command: str | Path, stdin: str | None = None) -> str:
        """Run; the registry must turn the client away, and the client must say so in plain words."""
        done = self._run(command, stdin)
        said = done.stderr + done.stdout
        assert done.returncode != 0, f"{command} was let in"
        assert REFUSED.search(said), f"{command}: {said}"
        assert not re.search(r"\b50\d\b|internal server error", said, re.IGNORECASE), said
        return said

    def failed(self, *command: str | Path, stdin: str | None = None) -> str:
        """Run; the client must fail for whatever reason. Returns what it said."""
        done = self._run(command, stdin)
        assert done.returncode != 0, f"{command} worked"
        return done.stderr + done.stdout

    def _run(self, command: tuple[str | Path, ...], stdin: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            env=self.env,
            cwd=self.home,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
