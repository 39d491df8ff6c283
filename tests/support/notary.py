"""The notary command line client."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from tests.support.registry import Registry

PASSPHRASES = {
    f"NOTARY_{role}_PASSPHRASE": "pass-phrase-1" for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")
}


class Notary:
    """The client, with a trust folder of its own."""

    def __init__(self, registry: Registry, folder: Path, user: tuple[str, str] | None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config = {"trust_dir": str(folder / "trust"), "remote_server": {"url": registry.url}}
        (folder / "config.json").write_text(json.dumps(config))
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **PASSPHRASES}
        if user is not None:
            self.environment["NOTARY_AUTH"] = base64.b64encode(":".join(user).encode()).decode()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run the client; returns what it printed."""
        done = subprocess.run(
            ["notary", "-c", str(self.folder / "config.json"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
            input="yes\n",  # "are you sure", which rotating a root key asks
            check=False,
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output
        assert check or done.returncode != 0, output
        return output
