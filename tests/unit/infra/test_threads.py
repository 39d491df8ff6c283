"""Threads that the event loop gives work to."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from seawall.infra.threads import Answer, Threads
from tests.support.waiting import until


def running(name: str) -> list[threading.Thread]:
    return [item for item in threading.enumerate() if item.name.startswith(f"{name}_")]


def test_values_and_errors_come_back() -> None:
    async def body() -> None:
        threads = Threads(3, "both")
        assert await threads.run(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(KeyError):
            await threads.run({}.__getitem__, "there is none")
        assert await asyncio.gather(*(threads.run(str, number) for number in range(100))) == [
            str(number) for number in range(100)
        ]
        threads.close(wait=True)
        with pytest.raises(RuntimeError):
            await threads.run(str, 1)

    asyncio.run(body())
    assert not running("both")


def test_one_thread_while_one_is_enough_and_never_more_than_allowed() -> None:
    async def body() -> None:
        threads = Threads(2, "few")
        for _ in range(10):
            await threads.run(str, 1)
        assert len(running("few")) == 1
        most, now, lock = 0, 0, threading.Lock()

        def work() -> None:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1

        await asyncio.gather(*(threads.run(work) for _ in range(20)))
        assert most == 2
        assert len(running("few")) == 2
        threads.close(wait=True)

    asyncio.run(body())


def test_who_is_cancelled_before_the_beginning_is_left_out() -> None:
    async def body() -> None:
        threads = Threads(1, "gone")
        done: list[str] = []
        go = threading.Event()
        first = asyncio.create_task(threads.run(go.wait, 30))
        second = asyncio.create_task(threads.run(done.append, "second"))
        third = asyncio.create_task(threads.run(done.append, "third"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        go.set()
        assert await first
        await third
        with pytest.raises(asyncio.CancelledError):
            await second
        assert done == ["third"]
        threads.close(wait=True)

    asyncio.run(body())


def test_work_given_before_the_end_is_done() -> None:
    threads = Threads(1, "last")
    done: list[int] = []
    for number in range(5):
        threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    threads.close(wait=True)
    assert done == [0, 1, 2, 3, 4]


def test_a_job_that_raises_takes_no_thread_along(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda about: said.append(str(about.exc_value)))

    def odd() -> None:
        raise ValueError("odd")

    async def body() -> None:
        threads = Threads(1, "odd")
        threads.submit(odd)
        assert await threads.run(str, 1) == "1"
        assert len(running("odd")) == 1
        threads.close(wait=True)

    asyncio.run(body())
    assert said == ["odd"]


def test_threads_end_with_their_owner() -> None:
    async def body() -> None:
        threads = Threads(4, "owned")
        await threads.run(str, 1)
        assert running("owned")

    asyncio.run(body())
    gc.collect()
    until(lambda: not running("owned"))


def test_an_answer_for_an_event_loop_that_has_ended() -> None:
    async def body() -> Answer:
        return Answer()

    answer = asyncio.run(body())
    answer.give(1)
    answer.fail(ValueError())


def test_the_first_answer_counts() -> None:
    async def body() -> None:
        answer = Answer()
        answer.give(1)
        answer.fail(ValueError())
        answer.give(2)
        assert await answer.future == 1
        assert not answer.wanted

    asyncio.run(body())
