"""The job engine on both databases: results, retries, stop, queues, schedules, the outbox."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, func, insert, select

from seawall.availability.cluster import health
from seawall.infra.jobs import runner as runner_
from seawall.infra.jobs.base import DefaultSchedule
from seawall.infra.jobs.runner import Runner
from seawall.infra.jobs.tables import job_schedules
from seawall.infra.outbox.events import Subscription
from seawall.infra.outbox.tables import outbox
from seawall.kernel.cron import next_time
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.process.wiring import Process
from tests.support.jobs.site import Site, ended, running
from tests.support.waiting import eventually


def test_runs_and_keeps_result_log_and_progress(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            job_id = await services.jobs.enqueue("test-echo", {"value": {"a": [1, "ü"]}})
            done = await ended(services, job_id)
            assert (done.status, done.result, done.attempts) == ("success", {"a": [1, "ü"]}, 1)
            assert done.progress == {"half": True}
            assert done.created_at <= (done.started_at or 0) <= (done.ended_at or 0)
            log = await services.jobs.log(job_id)
            assert log.endswith("[INFO] echo {'a': [1, 'ü']}\n")
            with pytest.raises(NotFoundError):
                await services.jobs.enqueue("no-such-kind", {})

    asyncio.run(scenario())


def test_key_and_transaction_decide_whether_there_is_a_job(site: Site) -> None:
    async def scenario() -> None:
        async with site.services() as services:
            first = await services.jobs.enqueue("test-echo", {"value": 1}, key="k")
            assert await services.jobs.enqueue("test-echo", {"value": 2}, key="k") == first

            def undone(connection: Connection) -> None:
                services.jobs.enqueue_in(connection, "test-echo", {"value": 3})
                raise InvalidError("undo")

            with pytest.raises(InvalidError):
                await services.db.write(undone)
            assert [item.id for item in await services.jobs.list()] == [first]
            assert await services.jobs.count(kind="test-echo", status="pending") == 1

    asyncio.run(scenario())


def test_retries_then_gives_up(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            heals = await services.jobs.enqueue("test-flaky", {"failures": 2})
            fails = await services.jobs.enqueue("test-flaky", {"failures": 3})
            done = await ended(services, heals)
            assert (done.status, done.result, done.error) == ("success", 3, None)
            done = await ended(services, fails)
            assert (done.status, done.attempts, done.error) == ("error", 3, "ValueError: attempt 3")
            assert (await services.jobs.log(fails)).count("will be tried again") == 2

    asyncio.run(scenario())


def test_no_job_takes_the_runner_along(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            for how, status, said in (
                ("exit", "error", "SystemExit: 3"),
                ("text", "error", "ValueError: a NUL \N{REPLACEMENT CHARACTER} and half a pair ?"),
                ("progress", "error", "TypeError: Object of type object is not JSON serializable"),
                ("object", "error", "the job's result is not JSON"),
                ("nan", "error", "the job's result is not JSON"),
                ("nul", "success", None),
            ):
                done = await ended(services, await services.jobs.enqueue("test-bad", {"how": how}))
                assert (done.status, done.error) == (status, said), how
            assert (await ended(services, await services.jobs.enqueue("test-tick", {}))).status == "success"
            assert len(await services.jobs.runners()) == 1

    asyncio.run(scenario())


def test_bad_schedules_stop_nothing(site: Site) -> None:
    """A default that cannot be used, and one in the database that cannot be read."""

    async def scenario() -> None:
        async with site.services() as services:
            jobs = services.jobs
            jobs.register(
                (),
                [
                    DefaultSchedule("a-bad", "0 0 31 2 *", "test-tick", {}),
                    DefaultSchedule("b-unknown", "0 0 0 1 1 *", "no-such-kind", {}),
                    DefaultSchedule("c-good", "0 0 0 1 1 *", "test-tick", {}),
                ],
            )
            row = {
                "name": "0-broken", "cron": "whenever", "kind": "test-tick", "args": {}, "next_at": 0.0,
                "enabled": True, "created_at": 0.0, "updated_at": 0.0,
            }  # fmt: skip
            due = {**row, "name": "due", "cron": "0 0 0 1 1 *"}
            await services.db.write(lambda c: c.execute(insert(job_schedules), [row, due]))
            engine = Runner(jobs)
            # The second attempt of a start whose first one failed half-way.
            await engine._register()
            assert set(await jobs.install_defaults()) == {"a-bad", "b-unknown"}
            task = asyncio.create_task(engine.run())
            try:
                await eventually(lambda: _count(services, "due"))
                assert (await ended(services, await jobs.enqueue("test-tick", {}))).status == "success"
                names = {item.name for item in await jobs.schedules()}
                assert {"0-broken", "c-good", "due", "system:gc"} <= names
                assert not names & {"a-bad", "b-unknown"}
                assert not await jobs.count(schedule="0-broken")
                assert len(await jobs.runners()) == 1
            finally:
                await engine.drain(0)
                await task

    asyncio.run(scenario())


async def _count(services: Process, schedule: str) -> bool:
    return await services.jobs.count(schedule=schedule, status="success") == 1


def test_readiness_misses_a_runner(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RUNNER_SECONDS", 1.0)
    monkeypatch.setitem(health._GOOD, "jobs", 0.1)

    async def scenario() -> None:
        async with site.services() as services:
            assert (await services.health.check())[0] == "ok"

            async def says(status: str) -> bool:
                found, parts = await services.health.check()
                assert found in ("ok", "degraded")
                assert parts.get("jobs", "no job runner") == "no job runner"
                return found == status

            await eventually(lambda: says("degraded"))
            engine = Runner(services.jobs)
            task = asyncio.create_task(engine.run())
            await eventually(lambda: says("ok"))
            await engine.drain(0)
            await task
            await eventually(lambda: says("degraded"))

    asyncio.run(scenario())


def test_stop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_, "STOP_SECONDS", 0.5)

    async def scenario() -> None:
        async with site.services(runner=True) as services:
            jobs = services.jobs
            late = await jobs.enqueue("test-echo", {"value": 1}, delay_seconds=600)
            assert await jobs.stop(late)
            assert (await ended(services, late)).status == "stopped"
            listening = await jobs.enqueue("test-steps", {"seconds": 60})
            deaf = await jobs.enqueue("test-deaf", {})
            await running(services, listening)
            assert await jobs.stop(listening)
            assert await jobs.stop(deaf)
            assert (await ended(services, listening)).status == "stopped"
            assert (await ended(services, deaf)).status == "stopped"
            assert not await jobs.stop(listening)
            assert not await jobs.stop("unknown")

    asyncio.run(scenario())


def test_paused_queue_hands_out_nothing(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            jobs = services.jobs
            await jobs.pause("test-echo", True)
            held = await jobs.enqueue("test-echo", {"value": 1})
            await ended(services, await jobs.enqueue("test-tick", {}))
            await asyncio.sleep(1.2)
            waiting = await jobs.get(held)
            assert waiting is not None
            assert waiting.status == "pending"
            queue = next(item for item in await jobs.queues() if item.kind == "test-echo")
            assert (queue.count, queue.paused) == (1, True)
            assert queue.latency_seconds >= 1
            await jobs.pause("test-echo", False)
            assert (await ended(services, held)).status == "success"

    asyncio.run(scenario())


def test_schedule_set_again_is_not_put_off(site: Site) -> None:
    async def scenario() -> None:
        async with site.services() as services:
            jobs = services.jobs
            await jobs.install_defaults()
            names = {item.name for item in await jobs.schedules()}
            assert {"system:gc", "system:purge-jobs"} <= names
            await jobs.set_schedule("mine", "0 0 0 1 1 *", "test-tick", {"x": 1})
            first = await jobs.get_schedule("mine")
            await jobs.set_schedule("mine", "0 0 0 1 1 *", "test-tick", {"x": 2})
            second = await jobs.get_schedule("mine")
            assert first is not None
            assert second is not None
            assert (second.next_at, second.args) == (first.next_at, {"x": 2})
            # A default that was removed stays removed.
            await jobs.set_schedule("system:gc", None, "gc", {})
            await jobs.set_schedule("mine", None, "test-tick", {})
            await jobs.install_defaults()
            assert {item.name for item in await jobs.schedules()} == names - {"system:gc"}
            with pytest.raises(InvalidError):
                await jobs.set_schedule("bad", "0 0 31 2 *", "test-tick", {})

    asyncio.run(scenario())


def test_purge_forgets_old_jobs_only(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            done = await services.jobs.enqueue("test-echo", {"value": 1})
            waiting = await services.jobs.enqueue("test-echo", {"value": 2}, delay_seconds=600)
            await ended(services, done)
            # By kind: schedules may start jobs of their own meanwhile.
            assert await services.jobs.purge(older_than_seconds=3600, kind="test-echo") == 0
            assert await services.jobs.purge(older_than_seconds=-1, kind="test-echo") == 1
            assert [item.id for item in await services.jobs.list(kind="test-echo")] == [waiting]
            assert await services.jobs.log(done) == ""

    asyncio.run(scenario())


def test_outbox_delivers_and_a_failing_subscriber_blocks_nobody(site: Site) -> None:
    async def scenario() -> None:
        seen: list[int] = []
        attempts: list[float] = []
        async with site.services(dispatcher=True) as services:

            async def good(kind: str, data: dict[str, Any]) -> None:
                assert kind == "THING"
                seen.append(data["n"])

            async def bad(_kind: str, _data: dict[str, Any]) -> None:
                attempts.append(time.monotonic())
                if len(attempts) < 3:
                    raise RuntimeError("not yet")

            services.events.subscribe(Subscription("good", frozenset({"THING"}), good))
            services.events.subscribe(Subscription("bad", frozenset({"THING"}), bad))

            def undone(connection: Connection) -> None:
                services.events.record(connection, "THING", {"n": 99})
                raise InvalidError("undo")

            with pytest.raises(InvalidError):
                await services.db.write(undone)
            await services.db.write(lambda c: services.events.record(c, "THING", {"n": 0}))
            for n in range(1, 4):
                await services.db.write(lambda c, n=n: services.events.record(c, "OTHER", {"n": n}))  # type: ignore[misc]

            async def empty() -> bool:
                return bool(
                    await services.db.read(
                        lambda c: c.execute(select(func.count()).select_from(outbox)).scalar_one() == 0
                    )
                )

            await eventually(empty)
            assert seen == [0]
            assert len(attempts) == 3
            assert attempts[2] - attempts[1] > 1.5  # 1 s, then 2 s

    asyncio.run(scenario())


def test_cron_is_harbors() -> None:
    at = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
    assert next_time("0 0 0 * * *", at) == 1_700_006_400
    assert next_time("0 0 * * * ?", at) == 1_700_002_800
    assert next_time("*/5 * * * * *", at) == at + 5
    assert next_time("0 0 3 * * 1-5", at) == 1_700_017_200
    for wrong in ("", "* * * * *", "0 0 0 * * * *", "61 * * * * *", "0 0 0 30 2 *", "a b c d e f", "@daily"):
        with pytest.raises(InvalidError):
            next_time(wrong, at)


_FIELD = st.one_of(st.just("*"), st.from_regex(r"\A[0-9]{1,2}([-/,][0-9]{1,2})?\Z"), st.text(max_size=5))


@given(st.lists(_FIELD, min_size=5, max_size=7), st.floats(min_value=0, max_value=4e9))
def test_any_cron_is_a_later_time_or_invalid(fields: list[str], after: float) -> None:
    try:
        found = next_time(" ".join(fields), after)
    except InvalidError:
        return
    assert found > after
