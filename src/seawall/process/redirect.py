"""The plain HTTP port next to TLS: every request is sent to the https address (308), as Harbor's proxy does.

Each server process listens on the port; the kernel shares connections out among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from seawall.infra.settings import Settings

_MOST = 16384
_SECONDS = 10.0
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\r\n")
_HOST = re.compile(
    rb"\r\nhost:[ \t]*(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?[ \t]*\r\n", re.IGNORECASE
)


class Redirect:
    """Answers on `http.redirect_port`; nothing to do where it is not set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        http = self._settings.http
        if http.redirect_port is not None:
            self._server = await asyncio.start_server(
                self._serve, http.host, http.redirect_port, limit=_MOST, reuse_port=True
            )

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
                writer.write(self._answer(head))
                await asyncio.wait_for(writer.drain(), _SECONDS)
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        request, host = _REQUEST.match(head), _HOST.search(head)
        base = self._base(host[1].decode() if host else None)
        if request is None or base is None:
            return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        where = base.encode() + request[2]
        return (
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: " + where + b"\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )

    def _base(self, host: str | None) -> str | None:
        if self._settings.external_url:
            return self._settings.external_url
        port = self._settings.http.port
        return f"https://{host}" + ("" if port == 443 else f":{port}") if host else None
