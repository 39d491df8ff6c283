"""A reader of the event stream."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.waiting import until

PATH = "/api/v2.0/seawall/events"


class Listener:
    """What one stream has said so far, read by a thread."""

    def __init__(self, url: str, **options: Any) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = False
        self._client = httpx.Client(base_url=url, timeout=60, **options)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        try:
            with self._client.stream("GET", PATH) as answer:
                assert answer.status_code == 200, answer.read()
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                assert answer.headers["Content-Type"].startswith("text/event-stream")
                name = ""
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.events.append((name, json.loads(line.removeprefix("data: "))))
        except (httpx.HTTPError, OSError):
            pass
        finally:
            self.ended = True

    def start(self) -> None:
        """Begin, and wait until the server takes changes for this stream into account."""
        self._thread.start()
        self.wait(lambda: bool(self.events) or self.ended)
        assert not self.ended

    def names(self) -> list[str]:
        """The names of what was said."""
        return [name for name, _ in self.events]

    def changes(self, kind: str) -> list[dict[str, Any]]:
        """The data of changes of a kind."""
        return [data for name, data in self.events if name == "change" and data["kind"] == kind]

    def wait(self, what: Callable[[], Any]) -> None:
        """Until `what` holds."""
        until(what, lambda: f"{self.events} ended={self.ended}")

    def close(self) -> None:
        """Stop reading."""
        # A connection that is closed under its reader gives its number to the next one, whose bytes it takes.
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._client.close()


@contextmanager
def listening_to(url: str, **options: Any) -> Iterator[Listener]:
    """A stream that is read while the block runs; `options` are of the HTTP client."""
    listener = Listener(url, **options)
    listener.start()
    try:
        yield listener
    finally:
        listener.close()
