"""Who waits in a line learns that its client is gone, and loses nothing of the body by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.types import Message

from seawall.kernel.presence import GoneError, holding, presence, while_here
from seawall.process import answering
from seawall.process.answering import Exchange

PIECE = 1000


class Client:
    """Sends `pieces` of a body, and goes away when `gone` is set."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces
        self.sent = 0
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        if self.left:
            self.left -= 1
            self.sent += 1
            return {"type": "http.request", "body": b"%d" % self.sent * PIECE, "more_body": self.left > 0}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def exchange(self, method: str = "PUT", expect: bytes = b"") -> Exchange:
        """The request, which the current task is for from now on."""

        async def send(_message: Message) -> None:
            """Nobody reads it."""

        headers = [(b"content-length", b"1")] if self.left else []
        if expect:
            headers.append((b"expect", expect))
        found = Exchange({"type": "http", "method": method, "headers": headers}, self.receive, send)
        presence.set(found)
        return found


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await body()

    asyncio.run(bounded())
    assert answering._Ahead.size == 0


@pytest.mark.parametrize("pieces", [0, 1, 5])
def test_a_wait_ends_with_its_client(pieces: int) -> None:
    async def body() -> None:
        client = Client(pieces)
        exchange = client.exchange()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, client.gone.set)
        with pytest.raises(GoneError):
            await while_here(waiting)
        assert waiting.cancelled()
        # A second wait ends at once.
        with pytest.raises(GoneError):
            await while_here(asyncio.get_running_loop().create_future())
        exchange.close()

    run(body)


def test_the_body_is_whole_after_a_wait() -> None:
    async def body() -> None:
        client = Client(7)
        exchange = client.exchange()
        for _ in range(3):
            assert await while_here(asyncio.ensure_future(asyncio.sleep(0.002, "value"))) == "value"
        found = []
        more = True
        while more:
            message = await exchange.receive()
            found.append(message["body"])
            more = message["more_body"]
        assert found == [b"%d" % number * PIECE for number in range(1, 8)]
        exchange.close()

    run(body)


def test_who_waits_to_be_told_to_send_is_not_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for the body says 100 Continue, which a client that is refused next must not get."""

    async def body() -> None:
        client = Client(3)
        exchange = client.exchange(expect=b"100-continue")
        for _ in range(3):
            await while_here(asyncio.ensure_future(asyncio.sleep(0.01)))
        assert client.sent == 0
        await exchange.send({"type": "http.response.start", "status": 401, "headers": []})
        await exchange.send({"type": "http.response.body", "body": b"no"})
        assert client.sent == 0, "a refusal asks for the body"
        exchange.close()
        # Where it waits for longer, its client would send anyway, and is missed when it goes.
        monkeypatch.setattr(answering, "_EXPECT_SECONDS", 0.02)
        client = Client(3)
        exchange = client.exchange(expect=b"100-continue")
        asyncio.get_running_loop().call_later(0.05, client.gone.set)
        with pytest.raises(GoneError):
            await while_here(asyncio.get_running_loop().create_future())
        exchange.close()

    run(body)


def test_little_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one request, and of all: past it a wait goes on, though nobody looks for the client."""

    async def body() -> None:
        monkeypatch.setattr(answering, "_AHEAD_BYTES", 5 * PIECE)
        client = Client(99)
        first = client.exchange()
        await while_here(asyncio.ensure_future(asyncio.sleep(0.05)))
        assert client.sent == 5
        monkeypatch.setattr(answering, "_AHEAD_BYTES_IN_ALL", 8 * PIECE)
        other = Client(99)
        second = other.exchange()
        await while_here(asyncio.ensure_future(asyncio.sleep(0.05)))
        assert other.sent == 3
        first.close()
        second.close()

    run(body)


def test_a_task_that_a_request_leaves_behind_goes_on() -> None:
    async def body() -> None:
        client = Client(0)
        exchange = client.exchange()
        client.gone.set()

        async def behind() -> str:
            return await while_here(asyncio.ensure_future(asyncio.sleep(0.05, "done")))

        left = asyncio.create_task(behind())
        with pytest.raises(GoneError):
            await while_here(asyncio.get_running_loop().create_future())
        assert await left == "done"
        exchange.close()

    run(body)


def test_a_lock_is_not_kept_by_who_has_gone() -> None:
    async def body() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        order: list[str] = []

        async def one(name: str, client: Client) -> None:
            exchange = client.exchange("GET")
            try:
                async with holding(lock):
                    order.append(name)
            except GoneError:
                order.append(f"{name} has gone")
            exchange.close()

        clients = {name: Client(0) for name in "abc"}
        tasks = [asyncio.create_task(one(name, client)) for name, client in clients.items()]
        await asyncio.sleep(0.02)
        clients["b"].gone.set()
        await asyncio.sleep(0.02)
        assert order == ["b has gone"]
        lock.release()
        await asyncio.gather(*tasks)
        assert order == ["b has gone", "a", "c"]
        # Gone in the very moment in which the lock comes: it has it for as long as it wants.
        await lock.acquire()
        late = Client(0)
        task = asyncio.create_task(one("late", late))
        await asyncio.sleep(0.02)
        lock.release()
        late.gone.set()
        await task
        assert not lock.locked()

    run(body)
