"""The access log: its schema, which reads are in it; and the list of all events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from seawall.infra import tracing
from seawall.infra.settings import Http
from seawall.process.edge import Edge
from tests.support.log_events import PAGE, page
from tests.support.processes import ROOT


def test_events_are_listed() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.log_events"


def logged(sample: float, method: str, status: int, times: int = 40) -> list[dict[str, Any]]:
    """What an edge logs of so many requests."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        return None

    async def run() -> None:
        edge = Edge(app, access_log=True, http=Http(), sample=sample)
        scope = {"type": "http", "method": method, "path": "/v2/", "headers": [], "client": ("192.0.2.7", 1)}
        for _ in range(times):
            await edge(dict(scope), receive, send)

    with capture_logs() as lines:
        asyncio.run(run())
    return [dict(line) for line in lines if line["event"] == "request"]


@pytest.mark.parametrize(
    ("sample", "method", "status", "least", "most"),
    [
        (1, "GET", 200, 40, 40),
        (0, "GET", 200, 0, 0),
        (0, "HEAD", 307, 0, 0),
        (0, "GET", 404, 40, 40),
        (0, "PUT", 201, 40, 40),
        (0.5, "GET", 200, 1, 39),
    ],
)
def test_sample(sample: float, method: str, status: int, least: int, most: int) -> None:
    assert least <= len(logged(sample, method, status)) <= most


def test_schema() -> None:
    schema = json.loads((ROOT / "docs" / "access-log.schema.json").read_text())
    (line,) = logged(1, "GET", 200, 1)
    made = {**line, "level": line.pop("log_level"), "timestamp": "2026-11-29T14:00:00.000000Z"}
    made.pop("log_level", None)
    jsonschema.validate(made, schema)
    assert set(made) == set(schema["properties"]) - {"trace_id", "span_id"}
    tracing.start(lambda _: None)
    try:
        with tracing.incoming("GET", []):
            made = dict(tracing.log_context(None, "info", made))
    finally:
        tracing.stop()
    jsonschema.validate(made, schema)
    # Nothing is logged that the schema does not describe.
    assert set(made) == set(schema["properties"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**made, "status": "200"}, schema)
