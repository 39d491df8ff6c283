"""What clients of a proxy-cache project get while its upstream fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from seawall.access.tables import projects
from seawall.features.proxycache import breaker, upstreams
from seawall.features.proxycache.upstreams import Upstreams
from seawall.kernel.errors import RegistryError
from seawall.registry.manifest import EMPTY_CONFIG, OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import Lab
from tests.support.servers.upstream import RunProxy, Upstream
from tests.support.waiting import eventually


def image(mark: str) -> bytes:
    """A manifest without blobs of its own."""
    config = {"mediaType": EMPTY_CONFIG, "digest": digest_of(b"{}"), "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "example/x",
        "config": config,
        "layers": [],
        "annotations": {"mark": mark},
    }
    return json.dumps(document).encode()


async def pull(lab: Lab, tag: str = "v1") -> str:
    return (await lab.services.registry.manifest("p/app", tag)).digest


async def refusal(work: Coroutine[Any, Any, Any]) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        await work
    return caught.value


async def status(lab: Lab) -> str:
    (found,) = await lab.services.replication.registries.all()
    return found.status


async def becomes(lab: Lab, wanted: str) -> None:
    async def is_so() -> bool:
        return await status(lab) == wanted

    await eventually(is_so)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_one_client_finds_out_that_the_upstream_fails(run_proxy: RunProxy, code: int) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        upstream.put("v1", image("newer"))
        upstream.status, upstream.headers = code, {"Retry-After": "30"}
        for _ in range(20):
            assert await pull(lab) == copy
        assert upstream.asked["manifests"] == 1
        # What is not here is refused at once, with the time after which to ask again.
        error = await refusal(pull(lab, "other"))
        assert (error.code, error.status) == ("UNAVAILABLE", 503)
        assert 1 <= int(error.headers["Retry-After"]) <= 30
        assert (await refusal(lab.services.registry.blob_size("p/app", digest_of(b"x")))).status == 503
        assert await lab.services.registry.tags("p/app", 10, None) == ["v1"]
        assert upstream.asked.total() == 1
        await becomes(lab, "unhealthy")
        assert REGISTRY.get_sample_value("seawall_proxy_upstream_up", {"registry": "up"}) == 0

    run_proxy(body)


@pytest.mark.parametrize("code", [400, 401, 403, 405])
def test_a_refusal_is_no_reason_to_withhold_the_copy(run_proxy: RunProxy, code: int) -> None:
    """As when the password has expired: the upstream is well, and asked each time."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        upstream.put("v1", image("newer"))
        upstream.status = code
        assert [await pull(lab), await pull(lab)] == [copy, copy]
        assert upstream.asked["manifests"] == 2
        assert await status(lab) == "healthy"
        upstream.status = 0
        assert await pull(lab) == digest_of(image("newer"))
        assert REGISTRY.get_sample_value("seawall_proxy_upstream_up", {"registry": "up"}) == 1

    run_proxy(body)


def test_a_page_for_people_is_no_manifest(run_proxy: RunProxy) -> None:
    """200 with a page: of a captive portal, or that the upstream is being maintained."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        upstream.page = "<html>Back at noon.</html>"
        assert [await pull(lab), await pull(lab)] == [copy, copy]
        error = await refusal(pull(lab, "other"))
        assert (error.code, error.status) == ("UNAVAILABLE", 503)
        upstream.page = ""
        upstream.put("v1", image("newer"))
        assert await pull(lab) == digest_of(image("newer"))

    run_proxy(body)


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain"])
def test_what_a_file_server_calls_a_manifest(run_proxy: RunProxy, kind: str) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        upstream.kind = kind
        digest = upstream.put("v1", image("one"))
        found = await lab.services.registry.manifest("p/app", "v1")
        assert (found.digest, found.media_type) == (digest, OCI_MANIFEST)

    run_proxy(body)


def test_a_blob_without_its_length(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        data = b"layer" * 1000
        upstream.blobs[digest_of(data)] = data
        upstream.chunked = True
        found = await lab.services.registry.open_blob("p/app", digest_of(data), whole=True)
        assert found.size == len(data)
        assert b"".join([part async for part in found.read(0, len(data))]) == data
        assert await lab.services.registry.blob_size("p/app", digest_of(data)) == len(data)

    run_proxy(body)


def test_only_a_tag_that_is_gone_is_gone(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        await lab.image("p/app", "v1")
        error = await refusal(pull(lab))
        assert (error.code, error.status) == ("MANIFEST_UNKNOWN", 404)
        assert await status(lab) == "healthy"

    run_proxy(body)


def test_a_silent_upstream_costs_one_short_wait(run_proxy: RunProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_FIRST_SECONDS", 60.0)
    monkeypatch.setattr(breaker, "_MOST_SECONDS", 60.0)

    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        upstream.hangs = True
        assert await pull(lab) == copy
        started = time.monotonic()
        for _ in range(20):
            assert await pull(lab) == copy
        # 20 waits would be 20 seconds.
        assert time.monotonic() - started < 10
        assert upstream.asked["manifests"] == 1
        await becomes(lab, "unhealthy")

    run_proxy(body, wait_seconds=0.5)


def test_a_slow_answer_refreshes_the_copy_in_the_background(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        newer = upstream.put("v1", image("newer"))
        upstream.hangs = True
        assert await pull(lab) == copy
        upstream.hangs = False

        async def refreshed() -> bool:
            return await pull(lab) == newer

        await eventually(refreshed)
        await becomes(lab, "healthy")

    run_proxy(body, wait_seconds=0.5)


def test_an_upstream_that_recovers_is_noticed(run_proxy: RunProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(breaker, "_MOST_SECONDS", 0.05)

    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        newer = upstream.put("v1", image("newer"))
        upstream.status = 502
        assert await pull(lab) == copy
        await becomes(lab, "unhealthy")
        upstream.status = 0

        async def noticed() -> bool:
            return await pull(lab) == newer

        await eventually(noticed)
        await becomes(lab, "healthy")

    run_proxy(body)


@pytest.mark.parametrize("endless", [False, True], ids=["pages", "endless"])
def test_a_link_that_repeats_ends(run_proxy: RunProxy, endless: bool) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        upstream.endless = endless
        upstream.tags = ["b", "a"]
        payload = image("sbom")
        upstream.referrers = [{"mediaType": OCI_MANIFEST, "digest": digest_of(payload), "size": len(payload)}]
        if endless:
            await lab.image("p/app", "here")
        names = await lab.services.registry.tags("p/app", 10, None)
        found, after = await lab.services.registry.referrers("p/app", digest_of(b"subject"), None, 10, 0)
        # A list that leads back to itself may not be the whole one, so the answer is what is here.
        assert names == (["here"] if endless else ["a", "b"])
        assert (found, after) == ([] if endless else upstream.referrers, None)
        assert upstream.asked == {"tags": 1, "referrers": 1}

    run_proxy(body)


def test_referrers_are_those_of_both(run_proxy: RunProxy) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/app", "v1")
        subject = {"mediaType": OCI_MANIFEST, "digest": copy, "size": 1}
        here = await lab.image("p/app", subject=subject, artifactType="example/here")
        theirs = {
            "mediaType": OCI_MANIFEST,
            "digest": digest_of(b"theirs"),
            "size": 7,
            "artifactType": "example/theirs",
            "annotations": {"a": "b"},
        }
        upstream.referrers = [theirs, {**theirs, "digest": here, "artifactType": "example/here"}]

        async def listed(
            kind: str | None = None, n: int = 10, after: int = 0
        ) -> tuple[list[str], int | None]:
            found, following = await lab.services.registry.referrers("p/app", copy, kind, n, after)
            return [item["digest"] for item in found], following

        assert await listed() == ([theirs["digest"], here], None)
        assert await listed("example/theirs") == ([theirs["digest"]], None)
        assert await listed(n=1) == ([theirs["digest"]], 1)
        assert await listed(n=1, after=1) == ([here], None)
        found, _ = await lab.services.registry.referrers("p/app", copy, "example/theirs", 10, 0)
        assert found == [theirs]
        # Without the upstream: what it said last, and what is here.
        upstream.status = 503
        assert await listed() == ([theirs["digest"], here], None)

    run_proxy(body)


@pytest.mark.parametrize("how", ["502", "hangs"])
def test_one_repository_that_fails_takes_no_other_with_it(run_proxy: RunProxy, how: str) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        copy = await lab.image("p/bad", "v1")
        newer = upstream.put("v1", image("newer"))
        upstream.only = "bad"
        upstream.status, upstream.hangs = (0, True) if how == "hangs" else (502, False)
        registry = lab.services.registry
        for _ in range(5):
            assert (await registry.manifest("p/bad", "v1")).digest == copy
        assert upstream.asked["manifests"] == 1
        assert (await refusal(registry.manifest("p/bad", "other"))).status == 503
        # The others are asked as ever, the registry is well.
        for number in range(4):
            assert (await registry.manifest(f"p/good{number}", "v1")).digest == newer
        assert await status(lab) == "healthy"
        assert REGISTRY.get_sample_value("seawall_proxy_upstream_up", {"registry": "up"}) == 1

    run_proxy(body, wait_seconds=0.5)


def test_many_repositories_that_fail_are_the_registry(run_proxy: RunProxy) -> None:
    """Though its ping answers; a metric has no label for a repository."""

    async def body(lab: Lab, upstream: Upstream) -> None:
        upstream.only, upstream.status = "bad", 500
        registry = lab.services.registry
        for name in ("bad/a", "bad/b"):
            assert (await refusal(registry.manifest(f"p/{name}", "v1"))).status == 503
        # One that answers in between: these were two of a kind.
        assert (await refusal(registry.manifest("p/good", "v1"))).status == 404
        for name in ("bad/c", "bad/d"):
            assert (await refusal(registry.manifest(f"p/{name}", "v1"))).status == 503
        assert await status(lab) == "healthy"
        asked = upstream.asked["manifests"]
        assert (await refusal(registry.manifest("p/bad/e", "v1"))).status == 503
        assert (await refusal(registry.manifest("p/good", "v1"))).status == 503
        assert upstream.asked["manifests"] == asked + 1
        await becomes(lab, "unhealthy")
        samples = [s for metric in REGISTRY.collect() for s in metric.samples if "proxy" in s.name]
        assert {tuple(s.labels) for s in samples if "upstream" in s.name} == {("registry",)}

    run_proxy(body)


def test_projects_before_a_registry_share_what_fails(
    run_proxy: RunProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the registry was changed, which each of them notices at another time."""
    monkeypatch.setattr(upstreams, "_PROJECTS_SECONDS", 0.0)

    async def body(lab: Lab, upstream: Upstream) -> None:
        registries = lab.services.replication.registries
        (up,) = await registries.all()
        other = await lab.project("q")
        mine = update(projects).where(projects.c.id == other).values(registry_id=up.id)
        await lab.db.write(lambda c: c.execute(mine))
        found = Upstreams(lab.db, registries)
        one, two = await asyncio.gather(found.of("p/app"), found.of("p/app"))
        assert one is two, "opened once"
        assert one is not None
        assert (same := await found.of("q/app")) is not None
        assert one.breakers is same.breakers
        await registries.change(up.id, {"description": "changed"})
        assert (one := await found.of("p/app")) is not None
        assert one.breakers is not same.breakers, "what failed before says nothing now"
        assert (same := await found.of("q/app")) is not None
        assert one.breakers is same.breakers
        await found.close()

    run_proxy(body)


def test_what_is_remembered_of_repositories_is_bounded() -> None:
    breakers = breaker.Breakers("hostile")
    for number in range(5000):
        breakers.failed(f"r{number}", "no")
        breakers.succeeded("other")
    assert len(breakers._repositories) == breaker._MOST_REPOSITORIES
    assert not breakers.lets_through("r4999")
    assert breakers.lets_through("r1")
