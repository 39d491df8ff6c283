"""Scans by the service itself, without a server or jobs."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from typing import Any

from seawall.features.scan.reports import find_report, report_data
from seawall.process.wiring import Process
from tests.support.scan.images import LAYER

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


async def push(services: Process, name: str, tag: str, *layers: bytes) -> str:
    """Store an image; returns its digest."""

    async def put(data: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        await services.content.repositories.ensure(name)
        writer = await services.storage.open_upload(str(uuid.uuid4()), 0, {})
        await writer.write(data)
        await services.content.uploads.finish(None, writer, name, digest)
        return {"digest": digest, "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **await put(b"{}")},
        "layers": [
            {"mediaType": LAYER + "+gzip", **await put(gzip.compress(item, 1, mtime=0))} for item in layers
        ],
    }
    digest, _ = await services.content.put_manifest(name, tag, json.dumps(document).encode(), MANIFEST)
    return digest


class Log:
    """Collects a job's lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __call__(self, line: str) -> None:
        self.lines.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


async def never() -> None:
    """A step that does not stop."""


async def scan(services: Process, name: str, tag: str, log: Log | None = None) -> dict[str, Any]:
    """Ask and do; returns the stored report."""
    (identifier,) = await services.scan.requests.request(name, tag)
    await services.scan.runner.run(identifier, log=log or Log(), step=never)
    row = await services.db.read(lambda c: find_report(c, identifier))
    assert row is not None
    assert row.status == "Success"
    found = await services.db.read(lambda c: report_data(c, row.id))
    assert found is not None
    return found
