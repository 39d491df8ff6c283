"""How an answer leaves: without a body where HTTP allows none, and not before the request's body was read.

Sources: RFC 9110 9.3.2 (HEAD), RFC 9113 8.1 (a stream's DATA must match), RFC 9112 9.6: a connection that is
closed while the client still sends is reset, and the reset takes away the answer that was not read yet.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

# What a client that does not stop may still send. Then the connection is closed with its bytes unread.
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 15.0


class Exchange:
    """One request's body as it comes in and its answer as it goes out; an application gets both methods."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        drain_bytes: int = DRAIN_BYTES,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._receive = receive
        self._send = send
        self._head = scope["method"] == "HEAD"
        headers = dict(scope["headers"])
        self._coming = b"content-length" in headers or b"transfer-encoding" in headers
        # Such a client sends no body to a refusal; asking for it would tell it to go on.
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"
        # HTTP/2 ends a stream without its connection.
        self._drains = scope.get("http_version", "1.1").startswith("1")
        self._bytes = drain_bytes
        self._seconds = drain_seconds
        self._start: Message | None = None

    async def receive(self) -> Message:
        """The next piece of the request's body."""
        self._waits = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._coming = False
        return message

    async def send(self, message: Message) -> None:
        """One message of the answer."""
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
