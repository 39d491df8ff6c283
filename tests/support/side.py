"""Another side that says what a test wants it to: an HTTP server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Side:
    """An HTTP server whose answers the test makes; it remembers the Authorization of each request."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str | None]] = []
        self.answer: Callable[[str, str, str | None], tuple[int, dict[str, str], bytes]] = (
            lambda _method, _path, _auth: (200, {}, b"{}")
        )
        side = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                auth = self.headers.get("Authorization")
                side.heard.append((self.command, self.path, auth))
                status, headers, body = side.answer(self.command, self.path, auth)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def secrets(self) -> list[str]:
        """The credentials and tokens that it was sent."""
        return [auth for _, _, auth in self.heard if auth]


@pytest.fixture
def sides() -> Iterator[Callable[[], Side]]:
    made: list[Side] = []

    def make() -> Side:
        made.append(Side())
        return made[-1]

    yield make
    for side in made:
        side.close()
