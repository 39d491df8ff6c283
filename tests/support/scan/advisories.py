"""Advisories in OSV format, their import, and matches with packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seawall.features.scan import match
from seawall.features.scan.model import Distribution, Found, Inventory, Package
from seawall.infra.db import Database

DEBIAN = Distribution("debian", "12", "bookworm")


def ev(*events: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [{name: value} for name, value in events]}]


def record(name: str, package: str, eco: str, events: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "modified": "2024-01-02T03:04:05Z",
        "summary": f"about {name}",
        "affected": [{"package": {"ecosystem": eco, "name": package}, "ranges": events}],
        **fields,
    }


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    for item in records:
        (path / f"{item['id']}.json").write_text(json.dumps(item))
    return path


def inventory(distribution: Distribution, *found: Found) -> Inventory:
    return Inventory(distribution, [Package(item, "", ("/x",), "sha256:0") for item in found])


def scan(db: Database, distribution: Distribution, *found: Found) -> list[match.Vulnerability]:
    return db.sync_read(lambda c: match.vulnerabilities(c, inventory(distribution, *found)))
