"""Steps of a release's rehearsal: a command that must succeed, and a line for each step."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path


class ReleaseError(Exception):
    """The release must not go out; one line says why."""


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    before: Callable[[], None] | None = None,
) -> str:
    """Standard output of a command. Raises ReleaseError with its last line when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        why = lines[-1] if lines else done.returncode
        raise ReleaseError(f"{Path(str(command[0])).name} {command[1]}: {why}")
    return done.stdout


def say(text: str) -> None:
    """A step, as it is done."""
    print(f"release-check: {text}", flush=True)
