"""Tags of a proxy-cache project are brought up to date by a job, for the platforms that were pulled."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import insert, select, update

from seawall.access.tables import project_metadata, projects
from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST
from seawall.registry.tables import manifests, tags
from tests.support.digests import digest_of
from tests.support.lab import Lab
from tests.support.proxied import is_here, put_image
from tests.support.servers.upstream import RunProxy, Upstream
from tests.support.waiting import eventually


def put_platforms(upstream: Upstream, tag: str, seed: str) -> dict[str, str]:
    """An index of two platforms and an attestation; platform -> digest, and `index`."""
    made = {
        name: put_image(upstream, f"{seed}-{name}", f"{seed} {name}".encode()) for name in ("amd64", "arm64")
    }
    entries: list[dict[str, Any]] = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(upstream.manifests[digest]),
            "platform": {"os": "linux", "architecture": name},
        }
        for name, digest in made.items()
    ]
    attestation = put_image(upstream, f"{seed}-attestation", b"attestation")
    entries.append(
        {
            **entries[0],
            "digest": attestation,
            "size": len(upstream.manifests[attestation]),
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        }
    )
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return {"index": upstream.put(tag, json.dumps(document).encode()), **made}


async def opt_in(lab: Lab) -> None:
    def set_warm(connection: Any) -> None:
        project = connection.execute(select(projects.c.id).where(projects.c.name == "p")).scalar_one()
        row = {"project_id": project, "name": "proxy_cache_warm", "value": "true"}
        connection.execute(insert(project_metadata).values(**row))

    await lab.db.write(set_warm)


async def warm(lab: Lab) -> Any:
    """Run the job; its result."""
    job = await lab.services.jobs.enqueue("proxy-warm", {})

    async def over() -> Any:
        found = await lab.services.jobs.get(job)
        return found if found is not None and found.status in ("success", "error") else None

    done = await eventually(over)
    assert done.status == "success", done.error
    return done.result


def test_a_moved_tag_is_here_before_its_pull(run_proxy_jobs: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        old = put_platforms(upstream, "v1", "old")
        await lab.services.registry.manifest("p/app", "v1")
        await lab.services.registry.manifest("p/app", old["amd64"])
        await eventually(lambda: is_here(lab, old["amd64"]))
        new = put_platforms(upstream, "v1", "new")
        # Not every project takes part.
        assert await warm(lab) == {"checked": 0, "moved": 0, "failed": 0}
        await opt_in(lab)

        async def moved() -> bool:
            await warm(lab)
            return bool((await is_here(lab, "v1")).digest == new["index"])

        # A project's settings are remembered for a second.
        await eventually(moved)
        upstream.status = 503
        found = await lab.services.registry.open_blob("p/app", digest_of(b"new amd64"), whole=True)
        assert found.data == b"new amd64"
        assert await is_here(lab, new["amd64"]) is not None
        # What nobody pulled of the index before is not fetched of this one.
        assert await is_here(lab, new["arm64"]) is None
        upstream.status = 0
        assert await warm(lab) == {"checked": 1, "moved": 0, "failed": 0}

    run_proxy_jobs(body)


def test_warming_is_no_use(run_proxy_jobs: RunProxy) -> None:
    """A tag that was last pulled long ago expires although it was warmed a moment ago."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        await opt_in(lab)
        put_platforms(upstream, "v1", "old")
        await lab.services.registry.manifest("p/app", "v1")
        used = time.time() - 86400 * 30

        def age(connection: Any) -> None:
            connection.execute(update(tags).values(pulled_at=used, pushed_at=used))
            connection.execute(update(manifests).values(pulled_at=used, pushed_at=used))

        await lab.db.write(age)
        new = put_platforms(upstream, "v1", "new")
        assert await warm(lab) == {"checked": 1, "moved": 1, "failed": 0}
        assert (await is_here(lab, "v1")).digest == new["index"]
        await lab.services.jobs.enqueue("proxy-expire", {"days": 7})

        async def gone() -> bool:
            return await is_here(lab, "v1") is None

        await eventually(gone)

    run_proxy_jobs(body)


def test_an_upstream_that_fails_is_left_alone(run_proxy_jobs: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        await opt_in(lab)
        for tag in ("v1", "v2", "v3"):
            put_platforms(upstream, tag, tag)
            await lab.services.registry.manifest("p/app", tag)
        upstream.status = 429
        upstream.headers = {"Retry-After": "30"}
        before = upstream.asked["manifests"]
        assert (await warm(lab))["failed"] == 1
        assert upstream.asked["manifests"] - before == 1

    run_proxy_jobs(body)
