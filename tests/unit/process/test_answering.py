"""Answers to HEAD have no body; an answer before the body's end lets the client finish."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seawall.process.answering import Exchange


class Client:
    """Sends a body in pieces; `waits`: it stops after them without ending it."""

    def __init__(self, pieces: int, *, waits: bool = False, **headers: str) -> None:
        self.left = pieces
        self.waits = waits
        self.log: list[Any] = []
        self.headers = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]

    async def receive(self) -> Message:
        if self.left <= 0:
            await asyncio.Event().wait()
        self.left -= 1
        self.log.append("read")
        return {"type": "http.request", "body": b"x" * 100, "more_body": self.left > 0 or self.waits}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.log.append(message["status"])
        else:
            self.log.append((message.get("body", b""), message.get("more_body", False)))

    def call(self, app: ASGIApp, method: str = "POST", version: str = "1.1", **bounds: float) -> list[Any]:
        scope = {"type": "http", "method": method, "headers": self.headers, "http_version": version}

        async def run() -> None:
            exchange = Exchange(scope, self.receive, self.send, **bounds)  # type: ignore[arg-type]
            await app(scope, exchange.receive, exchange.send)

        asyncio.run(run())
        return self.log


async def _pieces() -> Any:
    yield b"a"
    yield b"b"


@pytest.mark.parametrize(
    "answer",
    [Response(b"a body"), StreamingResponse(_pieces()), Response(status_code=204)],
    ids=["whole", "stream", "empty"],
)
def test_no_body_in_an_answer_to_head(answer: Response) -> None:
    assert Client(0).call(answer, "HEAD") == [answer.status_code, (b"", False)]


def test_no_file_in_an_answer_to_head() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/etc/hostname"})

    assert Client(0).call(app, "HEAD") == [200, (b"", False)]


def test_the_rest_of_a_body_is_read_before_the_answer_ends() -> None:
    log = Client(3, content_length="300").call(JSONResponse("no", 401))
    assert log == [401, (b'"no', True), "read", "read", "read", (b'"', False)]


def test_an_answer_without_a_body_waits_for_the_rest() -> None:
    log = Client(2, transfer_encoding="chunked").call(Response(status_code=401))
    assert log == ["read", "read", 401, (b"", False)]


def test_nothing_is_read_twice() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await Response(b"ok")(scope, receive, send)

    assert Client(2, content_length="200").call(app) == ["read", "read", 200, (b"ok", False)]


def test_reading_out_is_bounded_in_bytes() -> None:
    log = Client(1000, content_length="100000").call(Response(b"no", 413), drain_bytes=250)
    assert log.count("read") == 3
    assert log[-1] == (b"o", False)


def test_reading_out_is_bounded_in_time() -> None:
    client = Client(1, waits=True, content_length="1000")
    assert client.call(Response(b"no", 413), drain_seconds=0.05)[-1] == (b"o", False)


def test_who_waits_for_a_word_is_not_told_to_go_on() -> None:
    log = Client(3, content_length="300", expect="100-continue").call(Response(b"no", 401))
    assert log == [401, (b"no", False)]


def test_http2_ends_the_stream_only() -> None:
    assert Client(3, content_length="300").call(Response(b"no", 401), version="2") == [401, (b"no", False)]
