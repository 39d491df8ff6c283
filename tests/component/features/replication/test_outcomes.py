"""How an execution of replication ends when the destination refuses, and what events are for which policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from seawall.features.replication.events import DELETED, PUSHED, wanted
from seawall.features.replication.model import Filter, ReplicationExecution, ReplicationPolicy
from seawall.features.replication.origin import SETTLED
from seawall.infra.jobs.base import JobInfo
from seawall.infra.jobs.runner import Runner
from seawall.infra.settings import Settings
from seawall.process.wiring import open_process
from tests.support.digests import digest_of
from tests.support.lab import Lab
from tests.support.servers.upstream import Upstream, open_upstream
from tests.support.waiting import eventually

RunTo = Callable[[Callable[[Lab, Upstream], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run_to(lab_settings: Settings) -> RunTo:
    """Run a coroutine function with a Lab whose jobs run, and another registry."""

    def runner(body: Callable[[Lab, Upstream], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            services = open_process(lab_settings)
            engine = Runner(services.jobs, slots=4)
            task = asyncio.create_task(engine.run())
            try:
                async with open_upstream() as upstream:
                    await body(Lab(services), upstream)
            finally:
                await engine.drain(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await services.close()

        asyncio.run(main())

    return runner


async def replicate(lab: Lab, upstream: Upstream) -> ReplicationExecution:
    """Copy everything to the other registry; how that ended."""
    replication = lab.services.replication
    there = await replication.registries.add(name="there", url=upstream.url, type="docker-registry")
    policy = await replication.policies.add(ReplicationPolicy(name="all", dest_registry_id=there))
    started = await replication.executions.start(policy, "manual")

    async def over() -> ReplicationExecution | None:
        found = await replication.executions.get(started)
        return found if found.status != "InProgress" else None

    ended: ReplicationExecution = await eventually(over, "the execution did not end")
    return ended


@pytest.mark.parametrize(
    ("status", "why"),
    [(412, "v1 is configured as immutable"), (405, "all is a virtual project: push to one of its members")],
)
def test_a_refusal_at_the_destination_is_a_failure(run_to: RunTo, status: int, why: str) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        await lab.project()
        await lab.image("p/a", "v1")
        other = await lab.image("p/a", "v2")
        upstream.refuses["v1"] = status, {"code": "DENIED", "message": why}
        ended = await replicate(lab, upstream)
        assert (ended.status, ended.total, ended.failed) == ("Failed", 1, 1)
        assert "1 of 2 failed, v1 with" in ended.status_text
        assert why in ended.status_text
        # The rest of the repository is there, and nothing was tried in vain again.
        assert digest_of(upstream.manifests["v2"]) == other
        (task,) = await lab.services.replication.executions.tasks(ended.id)

        # The execution is over a moment before its job is.
        async def ended_job() -> JobInfo | None:
            found = await lab.services.jobs.get(task.job_id or "")
            return found if found is not None and found.status != "running" else None

        job: JobInfo = await eventually(ended_job, "the job did not end")
        assert (job.status, job.attempts) == ("error", 1)

    run_to(body)


def test_a_change_that_the_destination_has_had_is_no_failure(run_to: RunTo) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        await lab.project()
        await lab.image("p/a", "v1")
        upstream.refuses["v1"] = 412, {"code": "DENIED", "message": "pushed here later", "detail": SETTLED}
        ended = await replicate(lab, upstream)
        assert (ended.status, ended.succeed, ended.status_text) == ("Succeed", 1, "")

    run_to(body)


def test_cosigns_tags_are_copied_with_their_image(run_to: RunTo) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        await lab.project()
        image = await lab.image("p/a", "v1")
        tag = image.replace(":", "-") + ".att"
        attestation = await lab.image("p/a", tag)
        assert (await replicate(lab, upstream)).status == "Succeed"
        assert digest_of(upstream.manifests[tag]) == attestation
        assert "config" in json.loads(upstream.manifests[image])

    run_to(body)


IMAGE = "sha256:" + "a" * 64
SIGNATURE = "sha256-" + "a" * 64 + ".sig"


@pytest.mark.parametrize(
    ("references", "names", "filters", "expected"),
    [
        (["v1"], [], ["v*"], ["v1"]),
        (["x1"], [], ["v*"], []),
        ([SIGNATURE], ["v1"], ["v*"], [SIGNATURE]),
        ([SIGNATURE], ["x1", "v1"], ["v*"], [SIGNATURE]),
        ([SIGNATURE], ["x1"], ["v*"], []),
        # The artifact is not here yet, or has no tag: it brings what belongs to it when it goes.
        ([SIGNATURE], [], ["v*"], []),
        ([SIGNATURE], [], [], [SIGNATURE]),
        ([IMAGE], ["v1"], ["v*"], [IMAGE]),
        ([IMAGE], ["x1"], ["v*"], []),
        ([IMAGE], [], [], [IMAGE]),
        # An SBOM that has a subject and a tag of its own.
        (["sbom"], ["v1"], ["v*"], ["sbom"]),
        (["sbom"], ["x1"], ["v*"], []),
    ],
    ids=lambda value: "+".join(value)[:20] or "none",
)
def test_which_pushes_a_policy_wants(
    references: list[str], names: list[str], filters: list[str], expected: list[str]
) -> None:
    policy = ReplicationPolicy(name="p", filters=[Filter("tag", item) for item in filters])
    assert wanted(policy, PUSHED, {"references": references, "names": names}) == expected


@pytest.mark.parametrize(
    ("references", "tags", "names", "expected"),
    [
        (["v1"], ["v1"], [], ["v1"]),
        (["x1"], ["x1"], [], []),
        ([IMAGE], ["x1", "v1"], [], [IMAGE]),
        ([IMAGE], [], [], [IMAGE]),
        ([SIGNATURE], [SIGNATURE], ["v1"], [SIGNATURE]),
        ([SIGNATURE], [SIGNATURE], ["x1"], []),
        # Its artifact was deleted before it.
        ([SIGNATURE], [SIGNATURE], [], [SIGNATURE]),
    ],
    ids=lambda value: "+".join(value)[:20] or "none",
)
def test_which_deletions_a_policy_wants(
    references: list[str], tags: list[str], names: list[str], expected: list[str]
) -> None:
    policy = ReplicationPolicy(name="p", filters=[Filter("tag", "v*")])
    assert wanted(policy, DELETED, {"references": references, "tags": tags, "names": names}) == expected
