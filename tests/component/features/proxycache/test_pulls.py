"""Pulls through a proxy-cache project: passed on, kept by a job, and expired."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from seawall.kernel.errors import RegistryError
from seawall.registry.manifest import OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, Lab, descriptor
from tests.support.servers.upstream import RunProxy, Upstream
from tests.support.waiting import eventually

LAYER = "application/vnd.oci.image.layer.v1.tar"


def put_image(upstream: Upstream, tag: str, layer: bytes) -> str:
    """An image with a layer; returns its digest."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "x": tag}).encode()
    for data in (config, layer):
        upstream.blobs[digest_of(data)] = data
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, CONFIG),
        "layers": [descriptor(layer, LAYER)],
    }
    return upstream.put(tag, json.dumps(document).encode())


async def read(lab: Lab, digest: str) -> bytes:
    found = await lab.services.registry.open_blob("p/app", digest, whole=True)
    return found.data or b"".join([data async for data in found.read(0, found.size)])


async def is_here(lab: Lab, reference: str) -> Any:
    try:
        return await lab.content.manifest("p/app", reference)
    except RegistryError:
        return None


def test_what_is_pulled_is_kept(run_proxy_jobs: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        layer = b"layer" * 1000
        image = put_image(upstream, "v1", layer)
        assert (await lab.services.registry.manifest("p/app", "v1")).digest == image
        # Misses of one blob at the same time are one request upstream.
        found = await asyncio.gather(*(read(lab, digest_of(layer)) for _ in range(8)))
        assert set(found) == {layer}
        assert upstream.asked["blobs"] == 1
        # The job brings what the client did not ask for, then the image.
        await eventually(lambda: is_here(lab, "v1"))
        assert upstream.asked["blobs"] == 2
        upstream.status = 503
        assert (await lab.services.registry.manifest("p/app", "v1")).digest == image
        assert await read(lab, digest_of(layer)) == layer
        with pytest.raises(RegistryError):
            await lab.services.registry.put_manifest("p/app", "v2", b"{}", OCI_MANIFEST)

    run_proxy_jobs(body)


def test_an_index_goes_before_its_parts(run_proxy_jobs: RunProxy) -> None:
    """Neither is deleted while it is pulled; a part that an index names stays with the index."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        first = await lab.image("p/app")
        whole = await lab.index("p/app", "all", [first])
        # Stored after its index, as parts of a proxied index are.
        stored = await lab.content.manifest("p/app", first)
        await lab.content.put_manifest("p/app", first, stored.payload, stored.media_type)
        job = await lab.services.jobs.enqueue("proxy-expire", {"days": 1e-9})

        async def over() -> Any:
            found = await lab.services.jobs.get(job)
            return found if found is not None and found.status in ("success", "error") else None

        done = await eventually(over)
        assert (done.status, done.result) == ("success", {"deleted": 2})
        assert await is_here(lab, whole) is None
        assert await is_here(lab, first) is None

    run_proxy_jobs(body)
