"""Turns of pushes: places, lines, their bounds, and what a slow client keeps from others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from seawall.kernel.errors import RegistryError
from seawall.kernel.presence import GoneError
from seawall.web.oci import turns as module
from seawall.web.oci.turns import Turns
from tests.support.presence import Gone, for_client

Body = Callable[[], Coroutine[Any, Any, None]]


class Work:
    """Requests that hold a place until the test ends them, and the order in which they got it."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.at_once = 0
        self.most = 0
        self.go = asyncio.Semaphore(0)

    async def one(self, project: str, name: str = "") -> None:
        try:
            async with self.turns.turn(project):
                self.order.append(name or project)
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                await self.go.acquire()
                self.at_once -= 1
        except GoneError:
            self.refused.append((name or project, "gone"))
        except RegistryError as error:
            assert (error.status, error.code) == (429, "TOOMANYREQUESTS")
            self.refused.append((name or project, error.headers["Retry-After"]))

    def begin(self, *items: str) -> list[asyncio.Task[None]]:
        """`items`: a project, or a project and a name with a colon between."""
        return [asyncio.create_task(self.one(item.partition(":")[0], item)) for item in items]

    async def finish(self, tasks: list[asyncio.Task[None]]) -> None:
        for _ in tasks:
            self.go.release()
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(body: Body) -> None:
    asyncio.run(body())


def test_projects_take_turns_and_places_are_bounded() -> None:
    async def body() -> None:
        work = Work(Turns(places=2, waiting=100, seconds=60))
        tasks = work.begin(*["a"] * 20)
        await settle()
        tasks += work.begin("b", "c", "b")
        await settle()
        assert work.order == ["a", "a"]
        await work.finish(tasks)
        assert work.most == 2
        # Twenty waited before them, and they wait for one turn each.
        assert work.order[2:8] == ["a", "b", "c", "a", "b", "a"]
        assert len(work.order) == 23
        assert not work.turns._held
        assert work.turns._waiting == 0

    run(body)


def test_past_the_limit_the_last_of_the_longest_line_goes() -> None:
    async def body() -> None:
        work = Work(Turns(places=1, waiting=4, seconds=60))
        tasks = work.begin("a:0", "a:1", "a:2", "a:3", "a:4")
        await settle()
        assert not work.refused
        tasks += work.begin("a:5")
        await settle()
        assert work.refused == [("a:5", "1")], "its own line is the longest"
        tasks += work.begin("b:0")
        await settle()
        assert work.refused[1:] == [("a:4", "1")]
        tasks += work.begin("b:1", "c:0")
        await settle()
        assert {name for name, _ in work.refused[2:]} == {"a:3", "a:2"}
        tasks += work.begin("d:0", "e:0")
        await settle()
        # Only one of them finds a line that is longer than its own would be.
        assert {name for name, _ in work.refused[4:]} == {"b:1", "e:0"}
        await work.finish(tasks)
        assert work.order == ["a:0", "a:1", "b:0", "c:0", "d:0"]
        assert work.turns._waiting == 0

    run(body)


def test_a_wait_has_an_end() -> None:
    async def body() -> None:
        work = Work(Turns(places=1, waiting=9, seconds=0.2))
        tasks = work.begin("a:0", "a:1", "b:0")
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks[1:])
        assert {name for name, _ in work.refused} == {"a:1", "b:0"}
        await work.finish(tasks[:1])
        assert work.turns._waiting == 0
        # And afterwards it is as before.
        more = work.begin("a:2")
        await work.finish(more)
        assert work.order == ["a:0", "a:2"]

    run(body)


def test_who_goes_away_while_waiting_takes_no_place() -> None:
    async def body() -> None:
        work = Work(Turns(places=1, waiting=9, seconds=60))
        tasks = work.begin("a:0", "a:1", "a:2")
        await settle()
        tasks[1].cancel()
        await settle()
        assert work.turns._waiting == 1
        # Also in the moment in which its turn comes.
        work.go.release()
        await asyncio.sleep(0)
        tasks[2].cancel()
        await settle()
        last = work.begin("b:0")
        await work.finish([*tasks, *last])
        assert work.order[-1] == "b:0"
        assert not work.turns._held

    run(body)


def test_a_silent_client_lends_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gets it back before the next of its project, without ever being refused."""
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    monkeypatch.setattr(module, "_LOOK", 0.01)

    async def body() -> None:
        turns = Turns(places=1, waiting=9, seconds=0.1)
        work = Work(turns)
        sent = asyncio.Event()
        order: list[str] = []

        async def upload() -> None:
            async with turns.turn("a") as place:
                assert await place.receiving(lambda: received(sent, b"x")) == b"x"
                assert place.held
                order.append("upload")

        slow = asyncio.create_task(upload())
        await settle()
        (other,) = work.begin("a:1")
        async with asyncio.timeout(30):
            while work.order != ["a:1"]:
                await asyncio.sleep(0.01)
        # Its bytes come while the other one works: it waits, for longer than others may.
        sent.set()
        await asyncio.sleep(0.3)
        assert not order
        await work.finish([other])
        async with asyncio.timeout(30):
            await slow
        assert order == ["upload"]
        assert not turns._held

    run(body)


def test_a_long_body_lets_others_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUANTUM", 0.0)

    async def body() -> None:
        turns = Turns(places=1, waiting=9, seconds=60)
        work = Work(turns)
        chunks = 0
        more = asyncio.Event()
        more.set()

        async def upload() -> None:
            nonlocal chunks
            async with turns.turn("a") as place:
                while chunks < 1000 and not work.order:
                    await place.receiving(lambda: received(more, b"x"))
                    chunks += 1

        large = asyncio.create_task(upload())
        await settle()
        tasks = work.begin("b:0")
        work.go.release()
        async with asyncio.timeout(30):
            await asyncio.gather(large, *tasks)
        assert work.order == ["b:0"]
        assert chunks < 1000

    run(body)


def test_slow_uploads_do_not_keep_their_project_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than places, each always with more to send: all go on, and so do new requests."""
    monkeypatch.setattr(module, "_QUANTUM", 0.0)

    async def body() -> None:
        turns = Turns(places=2, waiting=99, seconds=60)
        work = Work(turns)
        chunks = [0] * 6
        more = asyncio.Event()
        more.set()

        async def upload(number: int) -> None:
            async with turns.turn("a") as place:
                while True:
                    await place.receiving(lambda: received(more, b"x"))
                    chunks[number] += 1

        uploads = [asyncio.create_task(upload(number)) for number in range(6)]
        await settle()
        tasks = work.begin("a:0", "a:1")
        async with asyncio.timeout(30):
            await work.finish(tasks)
            assert sorted(work.order) == ["a:0", "a:1"]
            while min(chunks) < 3:
                await asyncio.sleep(0)
        assert max(chunks) < 1000
        for task in uploads:
            task.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
        assert not turns._held
        assert turns._waiting == 0

    run(body)


def test_a_client_that_goes_while_its_place_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    monkeypatch.setattr(module, "_LOOK", 0.01)

    async def body() -> None:
        turns = Turns(places=1, waiting=9, seconds=60)
        work = Work(turns)
        gone = asyncio.Event()

        async def upload() -> None:
            async with turns.turn("a") as place:
                await place.receiving(lambda: lost(gone))

        slow = asyncio.create_task(upload())
        await settle()
        tasks = work.begin("b:0")
        async with asyncio.timeout(30):
            while not work.order:
                await asyncio.sleep(0.01)
        gone.set()
        with contextlib.suppress(ConnectionError):
            await slow
        await work.finish(tasks)
        assert not turns._held
        assert turns._waiting == 0

    run(body)


async def received(when: asyncio.Event, data: bytes) -> bytes:
    await when.wait()
    await asyncio.sleep(0)
    return data


async def lost(when: asyncio.Event) -> Awaitable[bytes]:
    await when.wait()
    raise ConnectionError


def test_who_has_gone_keeps_no_place_in_a_line() -> None:
    """Clients that give up and ask again leave room for themselves."""

    async def body() -> None:
        turns = Turns(places=1, waiting=3, seconds=60)
        work = Work(turns)
        (first,) = work.begin("a:0")
        await settle()
        client = Gone()
        waiting = [for_client(client, work.one(name[0], name)) for name in ("a:1", "a:2", "b:1")]
        await settle()
        assert turns._waiting == 3
        client.event.set()
        await settle()
        assert turns._waiting == 0
        assert not turns._lines
        again = work.begin("a:3", "a:4", "b:2")
        await settle()
        assert not work.refused[3:], "the lines are full of those that have gone"
        await work.finish([first, *waiting, *again])
        assert work.order == ["a:0", "a:3", "b:2", "a:4"]
        assert not turns._held

    run(body)
