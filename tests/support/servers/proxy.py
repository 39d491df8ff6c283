"""A TCP proxy on loopback that breaks connections at the moment a test chooses."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class TcpProxy:
    """Forwards to `target`.

    `on_request(data)` sees what a client sends and returns what becomes of it: `pass`, `drop` (the connection
    ends, the data never arrive), `last` (the data arrive, the connection ends before the answer), or `late`
    (the client's connection ends, the data arrive a second afterwards). What is sent in `gather_seconds`
    is seen as one. `answered` counts the bytes that came back.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.on_request: Callable[[bytes], str] = lambda _data: "pass"
        self.gather_seconds = 0.0
        self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening; open connections end with their peers."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(65536):
                if self.gather_seconds:
                    time.sleep(self.gather_seconds)
                    with contextlib.suppress(BlockingIOError):
                        data += client.recv(1_000_000, socket.MSG_DONTWAIT)
                fate = self.on_request(data)
                if fate == "pass":
                    server.sendall(data)
                    continue
                # Before the data go on, so that no answer can reach the client.
                client.shutdown(socket.SHUT_RDWR)
                if fate == "late":
                    time.sleep(1)
                if fate in ("last", "late"):
                    server.sendall(data)
                # The other thread still reads from the server: closing alone would not reach it.
                server.shutdown(socket.SHUT_WR)
                return

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                self.answered += len(data)
                # What the client no longer takes is still read, so that the server gets to its end.
                with contextlib.suppress(OSError):
                    client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
