"""Layers with packages, and projects to scan them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.registry import Registry
from tests.support.scan.advisories import write
from tests.support.scan.client import Client
from tests.support.scan.images import tar

CRITICAL = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]


def npm(*packages: tuple[str, str]) -> bytes:
    return tar(
        {
            f"app/node_modules/{name}/package.json": json.dumps({"name": name, "version": version}).encode()
            for name, version in packages
        }
    )


DEBIAN = tar(
    {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
        "var/lib/dpkg/status": (
            b"Package: libfoo1\nStatus: install ok installed\nSource: foo\n"
            b"Version: 1:1.0-1\nArchitecture: amd64\n"
        ),
    }
)


def advisories(server: Registry, folder: Path, *records: dict[str, Any]) -> None:
    done = server.cli("scan", "db", "import", str(write(folder, *records)))
    assert done.returncode == 0, done.stdout + done.stderr


def project(client: Client, name: str, **metadata: str) -> int:
    client.api("POST", "/projects", 201, json={"project_name": name, "metadata": metadata})
    return int(client.get(f"/projects/{name}")["project_id"])
