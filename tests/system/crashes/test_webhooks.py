"""A push that was acknowledged is told to the webhook, whatever dies in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
from sqlalchemy import select

from seawall.access.tables import projects
from seawall.features.webhooks import policies
from seawall.infra.settings import Settings
from seawall.process.wiring import open_process
from tests.support.receiver import Receiver
from tests.support.registry import Registry
from tests.support.waiting import eventually
from tests.support.webhooks import wanted

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def add_policy(data_dir: Path, address: str) -> None:
    """Store a policy beside the running server."""

    async def main() -> None:
        services = open_process(Settings(data_dir=data_dir))
        try:
            project = await services.db.read(
                lambda c: c.execute(select(projects.c.id).where(projects.c.name == "library")).scalar_one()
            )
            await services.db.write(
                lambda c: policies.create(c, services.keys, project, wanted(address), "admin")
            )
        finally:
            await services.close()

    asyncio.run(main())


def push(registry: Registry, tag: str) -> None:
    """Push a small image; returns once the server has acknowledged it."""
    with httpx.Client(base_url=registry.url, auth=registry.admin) as client:
        config = json.dumps({"tag": tag}).encode()
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        done = client.post("/v2/library/a/blobs/uploads/", params={"digest": digest}, content=config)
        assert done.status_code == 201
        descriptor = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor,
            "layers": [],
        }
        done = client.put(
            f"/v2/library/a/manifests/{tag}",
            content=json.dumps(manifest),
            headers={"Content-Type": OCI_MANIFEST},
        )
        assert done.status_code == 201


def test_kill_after_push(fresh_registry: Registry, receiver: Receiver) -> None:
    """Three times: push, kill -9 at once, start again. Every push arrives."""
    registry = fresh_registry
    registry.environment["SEAWALL_WEBHOOKS__ALLOW_NETWORKS"] = '["127.0.0.0/8"]'
    registry.start()
    add_policy(registry.data_dir, receiver.url)
    # At first the receiver does not take anything: what arrives later came from a second attempt.
    receiver.answer = lambda number: (500, {}) if number < 2 else (200, {})
    tags = {f"t{number}" for number in range(3)}
    for tag in sorted(tags):
        push(registry, tag)
        registry.kill()
        registry.start()

    def arrived() -> bool:
        taken = receiver.received[2:]
        return {request.json["event_data"]["resources"][0]["tag"] for request in taken} == tags

    asyncio.run(eventually(arrived, seconds=90))
