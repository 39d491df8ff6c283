"""How an answer leaves: without a body where HTTP allows none, and not before the request's body was read.

And whether its client is still there. Only who reads a request's body learns that, so a little of the body
is read ahead while the request waits for something else.

Sources: RFC 9110 9.3.2 (HEAD), RFC 9113 8.1 (a stream's DATA must match), RFC 9112 9.6: a connection that is
closed while the client still sends is reset, and the reset takes away the answer that was not read yet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from seawall.kernel.headers import by_name
from seawall.kernel.presence import GoneError, Presence

T = TypeVar("T")

# What a client that does not stop may still send. Then the connection is closed with its bytes unread.
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 15.0
# Seconds for which nobody looks for a client that first asks whether to send its body: to look says yes, also
# where the answer is a refusal. Such clients (curl, Go) wait no longer, and then send it anyway.
_EXPECT_SECONDS = 1.0
# What is read ahead of one request, and of all in this process. Past it, nobody looks for the client.
_AHEAD_BYTES = 64 << 10
_AHEAD_BYTES_IN_ALL = 16 << 20


class _Ahead:
    """Bytes that the requests of this process have read ahead."""

    size = 0


def _nothing(_message: Message) -> None:
    """Note nothing."""


class Exchange(Presence):
    """One request's body as it comes in and its answer as it goes out; an application gets both methods."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        note: Callable[[Message], None] = _nothing,
        *,
        drain_bytes: int = DRAIN_BYTES,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """`note` is shown each message of the answer before it leaves, and may add headers to it."""
        self._note = note
        self._receive = receive
        self._send = send
        self._head = scope["method"] == "HEAD"
        headers = by_name(scope)
        self._coming = b"content-length" in headers or b"transfer-encoding" in headers
        # Such a client sends no body to a refusal; asking for it would tell it to go on.
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"
        # HTTP/2 ends a stream without its connection.
        self._drains = scope.get("http_version", "1.1").startswith("1")
        self._bytes = drain_bytes
        self._seconds = drain_seconds
        self._start: Message | None = None
        # What was read ahead, and the piece that is being waited for.
        self._ahead: deque[Message] = deque()
        self._ahead_size = 0
        self._next: asyncio.Future[Message] | None = None
        self._gone: Message | None = None
        # Tasks that a request leaves behind do not end with its client.
        self._task = asyncio.current_task()

    @property
    def coming(self) -> bool:
        """Whether more of the request's body may come."""
        return self._coming

    async def receive(self) -> Message:
        """The next piece of the request's body."""
        self._waits = False
        if self._ahead:
            message = self._ahead.popleft()
            self._count_ahead(-len(message.get("body", b"")))
        elif self._gone is not None:
            message = self._gone
        elif self._next is not None:
            # Kept until it is there, so that nothing is lost when this is cancelled and called again.
            message = await asyncio.shield(self._next)
            self._next = None
        else:
            message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = message
            self._coming = False
        elif not message.get("more_body"):
            self._coming = False
        return message

    async def while_here(self, waiting: asyncio.Future[T]) -> T:
        """See Presence.while_here."""
        if asyncio.current_task() is not self._task:
            return await waiting
        try:
            while not waiting.done():
                if self._gone is not None:
                    raise GoneError
                if not self._may_look():
                    return await waiting
                if self._waits:
                    await asyncio.wait({waiting}, timeout=_EXPECT_SECONDS)
                    self._waits = waiting.done()
                    continue
                if self._next is None:
                    self._next = asyncio.ensure_future(self._receive())
                either: set[asyncio.Future[Any]] = {waiting, self._next}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if self._next.done():
                    self._keep(self._next.result())
                    self._next = None
        except BaseException:
            waiting.cancel()
            raise
        return waiting.result()

    def close(self) -> None:
        """Forget what was read ahead: the request is answered."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._ahead:
            self._ahead.clear()
            self._count_ahead(-self._ahead_size)

    def _may_look(self) -> bool:
        return self._ahead_size < _AHEAD_BYTES and _Ahead.size < _AHEAD_BYTES_IN_ALL

    def _keep(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._gone = message
            return
        self._ahead.append(message)
        self._count_ahead(len(message.get("body", b"")))

    def _count_ahead(self, size: int) -> None:
        self._ahead_size += size
        _Ahead.size += size

    async def send(self, message: Message) -> None:
        """One message of the answer."""
        self._note(message)
        if message["type"] == "http.response.start":
            # Kept until it is known whether a body follows.
            self._start = message
            return
        if self._head:
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b""}
        start, self._start = self._start, None
        body = message.get("body", b"")
        if self._unread():
            if start is not None and body and not message.get("more_body"):
                # The client learns the answer at once and may stop; its last byte keeps the connection open.
                await self._send(start)
                await self._send({**message, "body": body[:-1], "more_body": True})
                start, message = None, {**message, "body": body[-1:]}
            await self._drain()
        if start is not None:
            await self._send(start)
        await self._send(message)

    def _unread(self) -> bool:
        return self._coming and self._drains and not self._waits

    async def _drain(self) -> None:
        left = self._bytes
        try:
            async with asyncio.timeout(self._seconds):
                while self._coming and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
        self._coming = False
