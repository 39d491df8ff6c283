"""Requests that come at once: few begin in a round of the loop, in their order, and the rest goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from seawall.process.pacing import Pace


def test_a_flood_does_not_hold_up_what_goes_on() -> None:
    async def body() -> None:
        pace, begun = Pace(10, 60), []

        async def request(number: int) -> None:
            await pace.begin()
            begun.append(number)

        tasks = [asyncio.create_task(request(number)) for number in range(1000)]
        most = rounds = before = 0
        while len(begun) < 1000:
            # Somebody who needs a round for each step, as a health check does.
            await asyncio.sleep(0)
            most, before, rounds = max(most, len(begun) - before), len(begun), rounds + 1
            assert rounds < 5000
        assert most <= 20
        assert rounds >= 50
        assert begun == list(range(1000))
        await asyncio.gather(*tasks)

    asyncio.run(body())


def test_fewer_begin_where_each_takes_long() -> None:
    """Thirty-two of five milliseconds would hold up a health check for 160 in each of its steps."""

    async def body() -> None:
        pace, begun = Pace(32, 0.01), 0
        held = []

        async def request() -> None:
            nonlocal begun
            await pace.begin()
            begun += 1
            time.sleep(0.005)

        tasks = [asyncio.create_task(request()) for _ in range(200)]
        while begun < 200:
            before = begun
            await asyncio.sleep(0)
            held.append(begun - before)
        await asyncio.gather(*tasks)
        # The first rounds find out; then two or four begin, or fewer on a busy machine.
        assert max(held[8:]) <= 4, held
        # Those that take no time begin many at a time again.
        quick = [asyncio.create_task(pace.begin()) for _ in range(400)]
        rounds = 0
        while not all(task.done() for task in quick):
            await asyncio.sleep(0)
            rounds += 1
        assert rounds < 100

    asyncio.run(body())


def test_few_requests_wait_for_nothing() -> None:
    async def body() -> None:
        pace = Pace(10, 60)
        for _ in range(100):
            for _ in range(10):
                # No future is made, so the coroutine ends at its first step.
                step = pace.begin()
                try:
                    step.send(None)
                except StopIteration:
                    continue
                raise AssertionError("it waited")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(body())


def test_who_goes_away_keeps_nobody_waiting() -> None:
    async def body() -> None:
        pace = Pace(1)
        tasks = [asyncio.create_task(pace.begin()) for _ in range(30)]
        await asyncio.sleep(0)
        for task in tasks[5:25]:
            task.cancel()
        async with asyncio.timeout(30):
            done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(item is None for item in done) == 10

    asyncio.run(body())


def test_another_loop_begins_anew() -> None:
    pace = Pace(1)

    async def body() -> None:
        await asyncio.wait_for(asyncio.gather(*(pace.begin() for _ in range(5))), 30)

    asyncio.run(body())
    asyncio.run(body())


def test_requests_that_come_one_by_one_cost_few_rounds_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        pace, loop = Pace(32, 60), asyncio.get_running_loop()
        rounds, before = 0, loop.call_soon

        def counted(callback: Callable[..., object], *args: object, **more: Any) -> asyncio.Handle:
            nonlocal rounds
            rounds += callback == pace._next
            return before(callback, *args, **more)

        monkeypatch.setattr(loop, "call_soon", counted)
        for _ in range(320):
            await pace.begin()
        assert 0 < rounds <= 40

    asyncio.run(body())
