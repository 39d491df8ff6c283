"""Several runners on one database: takeover, concurrency, schedules, and the runner of `seawall serve`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from seawall.process.wiring import Process
from tests.support.jobs.site import RunnerProcess, Site, ended, running
from tests.support.registry import Registry
from tests.support.waiting import eventually, until


async def _started(site: Site, services: Process, seconds: float) -> tuple[RunnerProcess, RunnerProcess, str]:
    """Two runners and a job: the runner that has it, the other one, the job's id."""
    processes = [site.runner_process(), site.runner_process()]

    async def both() -> bool:
        return len(await services.jobs.runners()) == 2

    await eventually(both)
    job_id = await services.jobs.enqueue("test-steps", {"seconds": seconds})
    found = await running(services, job_id)
    pids = {item.id: item.pid for item in await services.jobs.runners()}
    processes.sort(key=lambda process: process.pid != pids[found.runner or ""])
    return processes[0], processes[1], job_id


async def _freeze(process: RunnerProcess, services: Process) -> None:
    """Stop it where it keeps nobody from writing: who is stopped in its turn keeps all, on SQLite."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(services.db.write(lambda _: None), 3)
            return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.05)


def test_takeover_of_a_killed_runner(site: Site) -> None:
    async def scenario() -> None:
        async with site.services() as services:
            first, second, job_id = await _started(site, services, seconds=3)
            first.kill()
            first.wait()
            done = await ended(services, job_id)
            assert done.result == {"pid": second.pid, "attempt": 2}
            assert [item.pid for item in await services.jobs.runners()] == [second.pid]

    asyncio.run(scenario())


def test_a_frozen_runner_loses_its_job_and_says_nothing_of_it(site: Site) -> None:
    async def scenario() -> None:
        async with site.services() as services:
            first, second, job_id = await _started(site, services, seconds=3)
            await _freeze(first, services)

            async def moved() -> bool:
                found = await services.jobs.get(job_id)
                return found is not None and found.status == "running" and found.attempts == 2

            await eventually(moved)
            first.send_signal(signal.SIGCONT)
            done = await ended(services, job_id)
            assert done.result == {"pid": second.pid, "attempt": 2}

            async def back() -> bool:
                return len(await services.jobs.runners()) == 2

            # The first runner is there again, under a new id, and takes jobs.
            await eventually(back)
            second.terminate()
            assert second.wait(30) == 0
            again = await ended(services, await services.jobs.enqueue("test-tick", {}))
            assert again.result == first.pid

    asyncio.run(scenario())


def test_a_draining_runner_hands_its_job_over_at_once(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            job_id = await services.jobs.enqueue("test-steps", {"seconds": 60})
            await running(services, job_id)
        async with site.services() as services:
            found = await services.jobs.get(job_id)
            assert found is not None
            assert (found.status, found.runner) == ("pending", None)

    asyncio.run(scenario())


def test_concurrency_holds_for_all_runners(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            site.runner_process()

            async def both() -> bool:
                return len(await services.jobs.runners()) == 2

            await eventually(both)
            await services.jobs.pause("test-pair", True)
            ids = [await services.jobs.enqueue("test-pair", {}) for _ in range(6)]
            await services.jobs.pause("test-pair", False)
            spans = [(await ended(services, job_id)).result for job_id in ids]
            assert all(sum(a <= start < b for a, b in spans) <= 2 for start, _ in spans)
            # And it is used: some two did overlap.
            assert any(sum(a <= start < b for a, b in spans) == 2 for start, _ in spans)

    asyncio.run(scenario())


def test_cron_fires_once_for_three_runners(site: Site) -> None:
    async def scenario() -> None:
        async with site.services(runner=True) as services:
            site.runner_process()
            site.runner_process()

            async def three() -> bool:
                return len(await services.jobs.runners()) == 3

            await eventually(three)
            await services.jobs.set_schedule("each-second", "* * * * * *", "test-tick", {})

            async def five() -> bool:
                return await services.jobs.count(schedule="each-second") >= 5

            await eventually(five)
            await services.jobs.set_schedule("each-second", None, "test-tick", {})
            fired = sorted(item.created_at for item in await services.jobs.list(schedule="each-second"))
            # Each second is one firing: none starts before its second, and no second twice.
            assert len({int(at) for at in fired}) == len(fired)

    asyncio.run(scenario())


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid and name == "seawall-jobs":
                found.append(int(entry.name))
    return found


def test_serve_keeps_a_runner_and_leaves_no_orphan(fresh_registry: Registry) -> None:
    fresh_registry.start()
    assert fresh_registry.process is not None
    server = fresh_registry.process.pid
    until(lambda: _children(server))
    (child,) = _children(server)
    # A runner that dies is started again.
    os.kill(child, signal.SIGKILL)
    until(lambda: _children(server) not in ([], [child]))
    (child,) = _children(server)
    job_id = fresh_registry.cli("jobs", "start", "gc").stdout.strip()
    until(lambda: "success" in fresh_registry.cli("jobs", "list", "--kind", "gc").stdout)
    assert "freed bytes: 0" in fresh_registry.cli("jobs", "log", job_id).stdout
    # kill -9 of the server's process alone, not of its group.
    os.kill(server, signal.SIGKILL)
    fresh_registry.process.wait()
    until(lambda: not Path(f"/proc/{child}").exists())
    fresh_registry.kill()
    # SIGTERM ends both, in order.
    fresh_registry.start()
    server = fresh_registry.process.pid
    until(lambda: _children(server))
    (child,) = _children(server)
    assert fresh_registry.stop() == 0
    assert not Path(f"/proc/{child}").exists()
