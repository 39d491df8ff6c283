"""Retention keeps what its rules say, and deletes the rest, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from seawall.features.immutability import rules as immutability
from seawall.features.retention import executions, policies
from seawall.features.retention.rules import (
    Candidate,
    candidates,
    checked_cron,
    checked_rules,
    retained,
    rules_for,
)
from seawall.features.retention.tables import retention_executions, retention_tasks
from seawall.features.retention.work import RetentionJobs
from seawall.infra.jobs.runner import Runner
from seawall.infra.outbox.tables import outbox
from seawall.infra.settings import Settings
from seawall.kernel.context import SYSTEM
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.process.wiring import open_process
from seawall.registry.tables import manifests
from tests.support.artifacts import rule as immutable_rule
from tests.support.lab import Lab, Run
from tests.support.waiting import eventually

NOW = 1_700_000_000.0
DAY = 86400.0


def rule(template: str, value: int | None = None, tags: str = "**", repos: str = "**", **more: Any) -> Any:
    """A retention rule as the API takes it."""
    return {
        "template": template,
        "action": "retain",
        "params": {} if value is None else {template: value},
        "tag_selectors": [
            {"kind": "doublestar", "decoration": "matches", "pattern": tags, "extras": ""}
            | more.pop("selector", {})
        ],
        "scope_selectors": {
            "repository": [
                {"kind": "doublestar", "decoration": more.pop("scope", "repoMatches"), "pattern": repos}
            ]
        },
        **more,
    }


def keep(items: list[Candidate], *rules: Any) -> set[int]:
    """Ids that checked rules keep."""
    return retained(checked_rules(rules), items, NOW)


# id, days since push, days since pull (None: never), tags
ITEMS = [
    Candidate(1, "d1", NOW - 1 * DAY, NOW - 30 * DAY, ("v1", "latest")),
    Candidate(2, "d2", NOW - 5 * DAY, 0.0, ("v2",)),
    Candidate(3, "d3", NOW - 10 * DAY, NOW - 2 * DAY, ("dev-1",)),
    Candidate(4, "d4", NOW - 20 * DAY, NOW - 1 * DAY, ()),
]


@pytest.mark.parametrize(
    ("given_rules", "expected"),
    [
        ([rule("always")], {1, 2, 3, 4}),
        ([rule("always", tags="v*", selector={"extras": '{"untagged":false}'})], {1, 2}),
        ([rule("always", tags="v*")], {1, 2, 4}),  # untagged ones by default, as in Harbor
        ([rule("always", tags="v*", selector={"decoration": "excludes"})], {1, 3, 4}),
        ([rule("latestPushedK", 2)], {1, 2}),
        ([rule("latestPushedK", 0)], set()),
        ([rule("latestPulledN", 2)], {3, 4}),
        ([rule("latestActiveK", 2)], {1, 4}),
        ([rule("nDaysSinceLastPush", 5)], {1, 2}),
        ([rule("nDaysSinceLastPull", 2)], {3, 4}),
        ([rule("lastXDays", 10)], {1, 2, 3}),
        ([rule("latestPushedK", 1), rule("nDaysSinceLastPull", 1)], {1, 4}),
        ([rule("latestPushedK", 1, tags="dev-*", selector={"extras": '{"untagged":false}'})], {3}),
        ([], set()),
    ],
)
def test_templates(given_rules: list[Any], expected: set[int]) -> None:
    assert keep(ITEMS, *given_rules) == expected


@given(
    st.lists(
        st.tuples(st.floats(0, 1e9), st.floats(0, 1e9), st.lists(st.sampled_from(["a", "b1", "b2"]))),
        max_size=12,
    ),
    st.integers(0, 5),
)
def test_more_rules_never_keep_less(raw: list[tuple[float, float, list[str]]], count: int) -> None:
    items = [Candidate(n, f"d{n}", push, pull, tuple(names)) for n, (push, pull, names) in enumerate(raw)]
    one = keep(items, rule("latestPushedK", count, tags="b*"))
    both = keep(items, rule("latestPushedK", count, tags="b*"), rule("latestPulledN", count))
    assert one <= both
    assert len(one) <= count
    assert len(both) <= 2 * count


def test_repository_selectors() -> None:
    checked = checked_rules(
        [rule("always", repos="app/**"), rule("latestPushedK", 1, repos="app/**", scope="repoExcludes")]
    )
    assert [r["id"] for r in rules_for(checked, "p/app/web")] == [1]
    assert [r["id"] for r in rules_for(checked, "p/other")] == [2]
    off = checked_rules([rule("always", disabled=True)])
    assert rules_for(off, "p/a") == []


@pytest.mark.parametrize(
    "raw",
    [
        {},
        rule("sometimes"),
        rule("latestPushedK"),
        rule("latestPushedK", -1),
        rule("latestPushedK", 10**6),
        {**rule("latestPushedK"), "params": {"latestPushedK": "3"}},
        {**rule("latestPushedK"), "params": {"latestPushedK": 1.5}},
        {**rule("always"), "action": "delete"},
        {**rule("always"), "tag_selectors": []},
        {**rule("always"), "scope_selectors": {}},
        rule("always", tags="["),
    ],
)
def test_malformed_rules(raw: Any) -> None:
    with pytest.raises(InvalidError):
        checked_rules([raw])


def test_extras_that_are_no_json_are_ignored_as_harbor_does() -> None:
    (checked,) = checked_rules([rule("always", selector={"extras": '["untagged":True]'})])
    assert checked["id"] == 1


def test_equal_rules_conflict() -> None:
    with pytest.raises(ConflictError):
        checked_rules([rule("always"), rule("always")])
    with pytest.raises(InvalidError):
        checked_rules([rule("latestPushedK", n) for n in range(16)])
    with pytest.raises(InvalidError):
        checked_cron("every day")


@pytest.fixture
def run_jobs(lab_settings: Settings) -> Run:
    """Run a coroutine function with a Lab whose jobs run."""

    def runner(body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            services = open_process(lab_settings)
            engine = Runner(services.jobs, slots=4)
            task = asyncio.create_task(engine.run())
            try:
                await body(Lab(services))
            finally:
                await engine.drain(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await services.close()

        asyncio.run(main())

    return runner


async def execute(lab: Lab, policy: int, *, dry_run: bool = False) -> executions.RetentionExecution:
    """Run the policy and wait."""
    services = lab.services
    started = await lab.db.write(
        lambda c: executions.start(c, services.jobs, policy, dry_run=dry_run, trigger="Manual", operator="me")
    )
    services.jobs.nudge()

    async def over() -> Any:
        found = await lab.db.read(lambda c: executions.execution(c, policy, started))
        return found if found.status != "Running" else None

    ended: executions.RetentionExecution = await eventually(over, "the execution did not end")
    return ended


def test_a_policy_is_applied(run_jobs: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        for number in range(4):
            await lab.image("p/a", f"v{number}")
        await lab.image("p/a", "fixed")
        child = await lab.image("p/a", "child")
        await lab.index("p/a", "all", [child])
        await lab.image("p/other", "v0")
        signed = await lab.image("p/a", "v9")
        await lab.image(
            "p/a",
            f"sha256-{signed[7:]}.sig",
            layer_type="application/vnd.dev.cosign.simplesigning.v1+json",
        )
        await lab.db.write(lambda c: immutability.create(c, project, immutable_rule("fixed")))
        rules = checked_rules([rule("latestPushedK", 2, tags="v*", repos="a")])
        policy = await lab.db.write(lambda c: policies.create(c, lab.services.jobs, project, rules, ""))
        before = await lab.used(project)

        dry = await execute(lab, policy, dry_run=True)
        assert dry.status == "Success"
        assert await lab.used(project) == before
        (task,) = await lab.db.read(
            lambda c: c.execute(select(retention_tasks).where(retention_tasks.c.execution_id == dry.id)).all()
        )
        # v9 and v3 by the rule, `fixed` because it is immutable.
        assert (task.repository, task.total, task.retained, task.status) == ("p/a", 8, 3, "Success")
        assert task.log.count("  DEL") == task.total - task.retained

        done = await execute(lab, policy)
        assert done.status == "Success"
        left = await lab.content.tags("p/a", 100, None)
        assert set(left) == {"v9", "v3", "fixed", f"sha256-{signed[7:]}.sig"}
        assert await lab.content.tags("p/other", 100, None) == ["v0"]
        assert await lab.used(project) < before
        assert done.operator == "me"
        events = await lab.db.read(
            lambda c: c.execute(select(outbox.c.data).where(outbox.c.kind == "TAG_RETENTION")).scalars().all()
        )
        assert len(events) == 1
        assert events[0]["event_data"]["retention"]["retention_policy_id"] == policy
        await lab.db.write(lambda c: policies.remove(c, lab.services.jobs, policy))
        with pytest.raises(NotFoundError):
            await lab.db.read(lambda c: policies.get(c, policy))

    run_jobs(body)


def test_ages_are_by_the_clock_of_the_database(run_jobs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts share it. By the clock of a host that is weeks ahead, all that is new would be old."""

    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "v1")
        rules = checked_rules([rule("nDaysSinceLastPush", 30)])
        policy = await lab.db.write(lambda c: policies.create(c, lab.services.jobs, project, rules, ""))
        query = select(retention_tasks.c.retained).order_by(retention_tasks.c.id)
        await execute(lab, policy, dry_run=True)
        here = lab.services.db.now
        monkeypatch.setattr(lab.services.db, "now", lambda: here() + 31 * DAY)
        await execute(lab, policy, dry_run=True)
        assert await lab.db.read(lambda c: list(c.execute(query).scalars())) == [1, 0]

    run_jobs(body)


def test_what_changed_meanwhile_stays(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await lab.image("p/a", "one")
        repository = await lab.content.repositories.get("p/a")
        (item,) = await lab.db.read(lambda c: candidates(c, repository.id))
        services = lab.services
        work = RetentionJobs(services.db, services.content, services.jobs, services.events, None)

        async def remove(candidate: Candidate) -> str:
            return await lab.db.write(lambda c: work._remove(c, repository, candidate, SYSTEM))

        assert await remove(dataclasses.replace(item, tags=())) == "CHANGED"
        await lab.db.write(lambda c: c.execute(update(manifests).values(pulled_at=5.0)))
        assert await remove(item) == "CHANGED"
        assert await remove(dataclasses.replace(item, pulled_at=5.0)) == "DEL"
        assert await remove(item) == "GONE"

    run(body)


def test_schedule_and_stop(run_jobs: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "v1")
        rules = checked_rules([rule("always")])
        services = lab.services
        policy = await lab.db.write(
            lambda c: policies.create(c, services.jobs, project, rules, "* * * * * *")
        )
        with pytest.raises(InvalidError):
            await lab.db.write(lambda c: policies.create(c, services.jobs, project, rules, ""))
        query = select(retention_executions.c.trigger, retention_executions.c.status)

        async def fired() -> bool:
            rows = await lab.db.read(lambda c: c.execute(query).all())
            return ("Schedule", "Success") in [tuple(row) for row in rows]

        await eventually(fired, "the schedule did not fire")
        await lab.db.write(lambda c: policies.change(c, services.jobs, policy, rules, ""))
        assert await services.jobs.get_schedule(f"retention:{policy}") is None
        # Stopped before it begins: nothing is applied.
        await services.jobs.pause("retention", True)
        started = await lab.db.write(
            lambda c: executions.start(c, services.jobs, policy, dry_run=False, trigger="Manual", operator="")
        )
        await executions.stop(services.db, services.jobs, policy, started)
        assert (await lab.db.read(lambda c: executions.execution(c, policy, started))).status == "Stopped"

    run_jobs(body)
