"""The gauge of requests under way follows them, though it is written only now and then."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from seawall.infra.settings import Http
from seawall.process.edge import Edge
from tests.support.waiting import eventually


def shown() -> float | None:
    return REGISTRY.get_sample_value("seawall_http_requests_active")


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Message) -> None:
    return None


SCOPE = {"type": "http", "method": "GET", "path": "/v2/", "headers": [], "client": ("192.0.2.7", 1)}


def answering(go_on: asyncio.Event) -> ASGIApp:
    """An application that answers once `go_on` is set."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_requests_under_way_are_shown() -> None:
    async def run() -> None:
        go_on = asyncio.Event()
        edge = Edge(answering(go_on), access_log=False, http=Http())
        tasks = [asyncio.create_task(edge(dict(SCOPE), receive, send)) for _ in range(3)]
        await eventually(lambda: shown() == 3)
        go_on.set()
        await asyncio.gather(*tasks)
        await eventually(lambda: shown() == 0)

    asyncio.run(run())
    # Another event loop, as in another test.
    asyncio.run(run())


def test_refusals_of_a_full_server_are_no_errors_in_the_log() -> None:
    """A flood would fill the log with stack traces just when somebody reads it."""

    async def run() -> None:
        go_on = asyncio.Event()
        found: list[int] = []

        async def kept(message: Message) -> None:
            found.extend([message["status"]] if "status" in message else [])

        edge = Edge(answering(go_on), access_log=False, http=Http(requests=1))
        first = asyncio.create_task(edge(dict(SCOPE), receive, send))
        await asyncio.sleep(0)
        await edge(dict(SCOPE), receive, kept)
        assert found == [503]
        go_on.set()
        await first

    with capture_logs() as lines:
        asyncio.run(run())
    assert [(line["event"], line["log_level"]) for line in lines] == [("request refused", "warning")]
