"""The event stream: what to ask for again, as it changes, in the form of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from seawall.infra.live.events import Event
from seawall.web.harbor.deps import Access, signed_in
from seawall.web.harbor.errors import ApiError, envelope
from seawall.web.harbor.needs import Browsers, StreamsDep
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.streams import Streams

router = ApiRouter(tags=["events"])

# Well below what balancers wait for a server's next byte (a minute, usually).
HEARTBEAT_SECONDS = 15.0
# A client that takes nothing for so long has left, or means harm.
SEND_SECONDS = 30.0
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    # nginx passes on each event as it comes.
    "X-Accel-Buffering": "no",
}
_DESCRIPTION = """Server-sent events (`text/event-stream`): what has changed of what the caller may see.

An event names what to ask for again (`change`, `refetch`) or why the stream ends (`end`)."""


class _Answer(Response):
    """The answer whose body goes on."""

    def __init__(self, streams: Streams, access: Access, session: str, again: bool) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._streams = streams
        self._access = access
        self._session = session
        self._again = again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until one side ends."""
        try:
            with self._streams.open(self._access.principal, self._session) as stream:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                number = 1
                text = "retry: 3000\n" + _message("refetch" if self._again else "ready", {}, number)
                away = asyncio.create_task(_away(receive))
                try:
                    while not away.done():
                        if text:
                            # Raises TimeoutError: the connection is dropped with what waits in it.
                            async with asyncio.timeout(SEND_SECONDS):
                                await send(
                                    {"type": "http.response.body", "body": text.encode(), "more_body": True}
                                )
                        if stream.ended:
                            break
                        waits = asyncio.create_task(stream.news(HEARTBEAT_SECONDS))
                        await asyncio.wait({waits, away}, return_when=asyncio.FIRST_COMPLETED)
                        if not waits.done():
                            waits.cancel()
                            break
                        events, everything = stream.take()
                        text = "" if waits.result() else ": still here\n\n"
                        if everything:
                            number += 1
                            text += _message("refetch", {}, number)
                        for event, project in events:
                            number += 1
                            text += _message("change", _data(event, project), number)
                        if stream.ended:
                            number += 1
                            text += _message("end", {"reason": stream.ended}, number)
                finally:
                    away.cancel()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ApiError as error:
            await envelope(error.status, error.message, headers=error.headers)(scope, receive, send)
        except TimeoutError:
            return


async def _away(receive: Receive) -> None:
    """Return once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _message(name: str, data: dict[str, Any], number: int) -> str:
    return f"event: {name}\nid: {number}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _data(event: Event, project: str) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": event.kind}
    if event.project_id is not None:
        data |= {"project_id": event.project_id, "project": project}
    if event.repository:
        data["repository"] = event.repository
    if event.execution is not None:
        data["execution"] = event.execution
    return data


@router.get(
    "/seawall/events",
    description=_DESCRIPTION,
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        429: {"description": "Too many streams"},
        503: {"description": "The instance is stopping"},
    },
)
async def event_stream(
    request: Request,
    access: Annotated[Access, signed_in()],
    browsers: Browsers,
    streams: StreamsDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """The stream of changes in what the caller may see."""
    session = browsers.hash_of(request) if access.principal.via == "session" else ""
    return _Answer(streams, access, session, last_event_id is not None)
