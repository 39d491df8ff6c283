"""Requests and answers of the registry API, without a framework between them and ASGI."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from seawall.kernel.errors import RegistryError
from seawall.kernel.headers import by_name
from seawall.web.caller import Caller
from seawall.web.oci.turns import Place


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class FastHeaders(Headers):
    """Starlette's, without a pass over all headers for each that is asked for."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(raw=scope["headers"])
        self._by_name = by_name(scope)

    def get(self, key: str, default: Any = None) -> Any:
        """See Headers.get."""
        value = self._by_name.get(key.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")


# Names of headers of answers as they are sent; there are few.
_SENT_AS: dict[str, bytes] = {}


def _sent_as(name: str) -> bytes:
    found = _SENT_AS[name] = name.lower().encode("latin-1")
    return found


# Most requests have none, and to parse it takes longer than to find their repository.
_NO_QUERY = QueryParams()


class Request:
    """One request: parsed lazily, with the body as an iterator."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers = FastHeaders(scope)
        query = scope.get("query_string", b"")
        self.query = QueryParams(query) if query else _NO_QUERY
        self._receive = receive
        # Who calls, and the repository that a blob is to be mounted from, once that is known.
        self.caller: Caller | None = None
        self.mount_from: str | None = None
        # The place of a request that waits for its turn.
        self.place: Place | None = None

    @property
    def address(self) -> str:
        """The client's address, "" when it is not known."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def length(self) -> int | None:
        """Content-Length, None where there is none."""
        value = self.headers.get("content-length")
        return int(value) if value is not None and value.isdigit() else None

    def text(self, parameter: str) -> str | None:
        """A query parameter. Raises 400 for one with a NUL, which PostgreSQL cannot even compare."""
        value = self.query.get(parameter)
        if value is not None and "\0" in value:
            raise RegistryError("UNSUPPORTED", f"{parameter} has a NUL character", status=400)
        return value

    async def body(self) -> AsyncIterator[bytes]:
        """Body chunks as they arrive. Raises ClientGoneError."""
        while True:
            if self.place is None:
                message = await self._receive()
            else:
                message = await self.place.receiving(self._receive)
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises RegistryError with 413 past `limit` bytes."""
        parts = bytearray()
        async for chunk in self.body():
            parts += chunk
            if len(parts) > limit:
                raise RegistryError("MANIFEST_INVALID", f"manifest is larger than {limit} bytes", status=413)
        return bytes(parts)


class Response:
    """An answer: JSON-able `content`, bytes, a blob file, or a stream."""

    def __init__(
        self,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        path: str | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.path = path
        self.stream = stream

    async def prime(self) -> None:
        """Fetch a stream's first piece: the status can then still say that storage fails."""
        if self.stream is not None:
            first = await anext(self.stream, b"")
            self.stream = _continued(first, self.stream)

    async def send(self, scope: Scope, send: Send) -> None:
        """Write the answer; for HEAD only its headers."""
        headers = [(_SENT_AS.get(k) or _sent_as(k), v.encode("latin-1")) for k, v in self.headers.items()]
        if "Content-Length" not in self.headers and self.status != 204:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif self.path is not None:
            await send({"type": "http.response.pathsend", "path": self.path})
        elif self.stream is not None:
            async for chunk in self.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": self.body})


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def error_response(error: RegistryError) -> Response:
    """The spec's error document ("Error Codes")."""
    item: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        item["detail"] = error.detail
    headers = {"Content-Type": "application/json", **error.headers}
    return Response(error.status, headers, msgspec.json.encode({"errors": [item]}))


def base_url(external_url: str | None, headers: Headers, scheme: str) -> str:
    """The address clients see: `external_url`, else the Host header's; "" when that is not a host."""
    if external_url:
        return external_url
    host = headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?", host):
        return ""
    return f"{scheme}://{host}"


def without_host(name: str, base: str) -> str:
    """A repository's name when it is given with the registry's host before it, as Notary's clients do."""
    first, separator, rest = name.partition("/")
    host = base.partition("://")[2]
    # No project has a colon in its name, so whatever has one is a host with a port.
    if separator and (":" in first or first in (host, host.rpartition(":")[0])):
        return rest
    return name
