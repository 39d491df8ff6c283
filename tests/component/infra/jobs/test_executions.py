"""Executions of policies are settled with their jobs, of whichever feature and however a job ended."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, update

from seawall.features.preheat.instances import Instances
from seawall.features.preheat.model import InstanceValues, PreheatPolicy
from seawall.features.replication.model import ReplicationPolicy
from seawall.features.replication.tables import registries
from seawall.features.retention import executions as retention
from seawall.features.retention import policies as retention_policies
from seawall.infra.jobs.tables import jobs
from tests.support.lab import Lab, Run


async def end_job(lab: Lab, job_id: str | None, status: str, error: str | None = None) -> None:
    """A job ends, and its work tells nobody."""
    values = {"status": status, "error": error}
    await lab.db.write(lambda c: c.execute(update(jobs).where(jobs.c.id == job_id).values(values)))


async def start_replication(lab: Lab) -> int:
    """An execution whose planning has not begun."""
    row: dict[str, Any] = {
        "name": "r", "description": "", "type": "docker-registry", "url": "http://x",
        "credential_type": "basic", "insecure": True, "status": "healthy",
        "created_at": 1.0, "updated_at": 1.0,
    }  # fmt: skip
    there = await lab.db.write(lambda c: c.execute(insert(registries).values(row)).inserted_primary_key)
    assert there is not None
    replication = lab.services.replication
    policy = await replication.policies.add(ReplicationPolicy(name="p", dest_registry_id=int(there[0])))
    return await replication.executions.start(policy, "manual")


def test_planning_that_stopped_or_failed_ends_the_execution(run: Run) -> None:
    async def body(lab: Lab) -> None:
        executions = lab.services.replication.executions
        started = await start_replication(lab)
        assert (await executions.get(started)).status == "InProgress"
        await executions.stop(started)
        assert (await executions.get(started)).status == "Stopped"
        policy = (await executions.get(started)).policy_id
        second = await executions.start(policy, "manual")
        (job,) = await lab.services.jobs.list(kind="replication", status="pending")
        await end_job(lab, job.id, "error", "the list cannot be read")
        found = await executions.get(second)
        assert (found.status, found.status_text) == ("Failed", "the list cannot be read")
        assert found.ended_at is not None

    run(body)


def test_tasks_are_settled_one_by_one(run: Run) -> None:
    async def body(lab: Lab) -> None:
        executions = lab.services.replication.executions
        started = await start_replication(lab)

        def plan(connection: Connection) -> bool:
            if not executions.steps.claim(connection, started):
                return False
            for name in ("a", "b"):
                executions.steps.add_task(
                    connection,
                    started,
                    "replication-task",
                    operation="copy",
                    resource_type="image",
                    src_resource=name,
                    dst_resource=name,
                    work={},
                    state={},
                )
            return True

        # However often planning runs, there is one set of tasks.
        assert [await lab.db.write(plan), await lab.db.write(plan)] == [True, False]
        one, two = await executions.tasks(started)
        await end_job(lab, one.job_id, "success")
        found = await executions.get(started)
        assert (found.status, found.total, found.succeed, found.in_progress) == ("InProgress", 2, 1, 1)
        await end_job(lab, two.job_id, "error", "no route")
        found = await executions.get(started)
        assert (found.status, found.status_text) == ("Failed", "no route")
        assert (found.succeed, found.failed, found.in_progress) == (1, 1, 0)
        # What is over stays as it was told.
        await end_job(lab, two.job_id, "success")
        assert (await executions.get(started)).status == "Failed"

    run(body)


def test_of_preheating(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        preheat = lab.services.preheat
        instances: Instances = preheat.instances
        values = InstanceValues(name="net", vendor="dragonfly", endpoint="http://net.example")
        network = await instances.add(values)
        policy = await preheat.policies.save(PreheatPolicy("p", network, project_id=project))
        steps = preheat.executions.steps

        def begin(connection: Connection) -> int:
            return steps.begin(
                connection,
                "preheat",
                {},
                job_trigger="manual",
                policy_id=policy,
                message="",
                trigger="manual",
            )

        empty = await lab.db.write(begin)
        assert await lab.db.read(lambda c: steps.busy(c, policy)) == empty

        def plan_nothing(connection: Connection) -> None:
            assert steps.claim(connection, empty)
            steps.settle_in(connection, empty)

        await lab.db.write(plan_nothing)
        assert await lab.db.read(lambda c: steps.busy(c, policy)) is None
        second = await lab.db.write(begin)
        await steps.stop(second)
        assert await lab.db.read(lambda c: steps.busy(c, policy)) is None

    run(body)


def test_of_retention_whose_one_job_does_it_all(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        service = lab.services.jobs
        policy = await lab.db.write(lambda c: retention_policies.create(c, service, project, [], ""))
        started = await lab.db.write(
            lambda c: retention.start(c, service, policy, dry_run=False, trigger="Manual", operator="me")
        )
        found = await lab.db.read(lambda c: retention.execution(c, policy, started))
        assert found.status == "Running"
        await end_job(lab, found.job_id, "error", "killed")
        await retention.steps(service).settle(started)
        found = await lab.db.read(lambda c: retention.execution(c, policy, started))
        assert (found.status, found.ended_at is None) == ("Error", False)

    run(body)
