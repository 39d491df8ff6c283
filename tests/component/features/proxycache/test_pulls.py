"""Pulls through a proxy-cache project: passed on, kept by a job, and expired."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from seawall.features.proxycache.cache import PullThrough
from seawall.features.replication.copy import Copier
from seawall.features.replication.endpoint import CompletedEndpoint, LocalEndpoint
from seawall.infra.settings import ProxySettings
from seawall.kernel.errors import RegistryError
from seawall.kernel.presence import GoneError
from seawall.process.wiring import open_process
from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import Lab
from tests.support.presence import Gone, for_client
from tests.support.proxied import is_here, put_image
from tests.support.servers.upstream import RunProxy, Upstream
from tests.support.waiting import eventually


async def read(lab: Lab, digest: str) -> bytes:
    found = await lab.services.registry.open_blob("p/app", digest, whole=True)
    return found.data or b"".join([data async for data in found.read(0, found.size)])


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


def test_who_has_gone_does_not_wait_for_a_fetch(run_proxy_jobs: RunProxy) -> None:
    """The fetch goes on for the others; one that has gone asks the database no longer."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        layer = b"layer" * 1000
        put_image(upstream, "v1", layer)
        await lab.services.registry.manifest("p/app", "v1")
        upstream.hangs = True
        first = asyncio.create_task(read(lab, digest_of(layer)))
        await eventually(lambda: upstream.asked["blobs"] > 0)
        client = Gone()
        second = for_client(client, read(lab, digest_of(layer)))
        await asyncio.sleep(0.5)
        assert not second.done()
        client.event.set()
        async with asyncio.timeout(10):
            with pytest.raises(GoneError):
                await second
        upstream.hangs = False
        assert await first == layer

    run_proxy_jobs(body)


def put_index(upstream: Upstream, tag: str, images: list[str]) -> str:
    """An index of images that are upstream; returns its digest."""
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": image, "size": len(upstream.manifests.get(image, b""))}
        for image in images
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return upstream.put(tag, json.dumps(document).encode())


def test_a_child_finds_its_index_through_another_process(run_proxy_jobs: RunProxy) -> None:
    """Nothing that a process remembers links them."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        images = [put_image(upstream, f"only-{n}", b"layer %d" % n) for n in range(2)]
        index = put_index(upstream, "all", images)
        other = open_process(lab.services.settings)
        try:
            assert (await other.registry.manifest("p/app", "all")).digest == index
        finally:
            await other.close()
        artifacts = lab.services.artifacts
        before = await artifacts.get("p/app", index)
        await lab.services.registry.manifest("p/app", images[0])
        await eventually(lambda: is_here(lab, images[0]))
        child = await artifacts.get("p/app", images[0])
        assert await lab.count("p/app") == 1
        after = await artifacts.get("p/app", index)
        assert after.size == before.size + child.size
        with pytest.raises(RegistryError) as refused:
            await lab.content.delete_manifest("p/app", images[0])
        assert refused.value.status == 412

    run_proxy_jobs(body)


def test_an_index_is_completed_when_it_is_copied(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        images = [put_image(upstream, f"only-{n}", b"layer %d" % n) for n in range(3)]
        inner = put_index(upstream, "inner", images[1:])
        index = put_index(upstream, "all", [images[0], inner])
        await lab.services.registry.manifest("p/app", "all")
        await lab.project("q")
        assert await lab.services.artifacts.copy("p/app", "all", "q/copy") == index
        for digest in [*images, inner, index]:
            assert (await lab.content.manifest("q/copy", digest)).digest == digest
        # Complete, it asks upstream no more.
        upstream.status = 503
        await lab.services.artifacts.copy("p/app", "all", "q/again")
        # One whose images are nowhere is not copied in part.
        upstream.status = 0
        gone = put_index(upstream, "gone", ["sha256:" + "1" * 64])
        await lab.services.registry.manifest("p/app", "gone")
        with pytest.raises(RegistryError, match="not upstream any more"):
            await lab.services.artifacts.copy("p/app", gone, "q/gone")

    run_proxy(body)


def test_an_index_is_completed_when_it_is_replicated(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        images = [put_image(upstream, f"only-{n}", b"layer %d" % n) for n in range(2)]
        index = put_index(upstream, "all", images)
        await lab.services.registry.manifest("p/app", "all")
        registries = lab.services.replication.registries
        cache = PullThrough(lab.db, lab.content, lab.services.jobs, registries, ProxySettings())
        source = CompletedEndpoint(lab.db, lab.content, cache.completer.complete)
        upstream.status = 401
        copier = Copier(source, LocalEndpoint(lab.db, lab.content), "p/app", "q/copy")
        assert "refuses" in (await copier.run(["all"]))["all"]
        upstream.status = 0
        copier = Copier(source, LocalEndpoint(lab.db, lab.content), "p/app", "q/copy")
        assert await copier.run(["all"]) == {}
        for digest in [*images, index]:
            assert (await lab.content.manifest("q/copy", digest)).digest == digest
        await cache.close()

    run_proxy(body)


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
