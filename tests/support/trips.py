"""What a request costs at PostgreSQL: round trips, statements, and how long it holds the quota's row.

`Relay` stands between a Seawall and PostgreSQL. It changes nothing of what passes, but it reads the messages
(PostgreSQL manual, "Message Formats"), and it can hold them back for a while, as a longer way would.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_TERMINATE = ord("X")
_FLUSH = ord("H")
_QUERY, _PARSE, _BIND = ord("Q"), ord("P"), ord("B")
_READY = ord("Z")


@dataclass
class Cost:
    """What passed the relay: waits for an answer, statements, and seconds with the quota's row locked.

    `bursts` has the statements that were sent together, wait by wait.
    """

    bursts: list[list[str]] = field(default_factory=list)
    held: float = 0.0

    @property
    def trips(self) -> int:
        """How often the client waited; without what is asked once a minute (`registry.receipts`)."""
        return sum(not all("synchronous_standby_names" in text for text in burst) for burst in self.bursts)

    @property
    def statements(self) -> list[str]:
        """All statements, in order."""
        return [statement for burst in self.bursts for statement in burst]

    def __str__(self) -> str:
        lines = []
        for number, burst in enumerate(self.bursts, 1):
            lines += [f"  {number}. {' '.join(statement.split())[:160]}" for statement in burst]
        return "\n".join(lines)


class Relay:
    """Passes connections on to PostgreSQL at `target` (a loopback port)."""

    def __init__(self, target: int, *, port: int = 0, delay: float = 0.0, reads: bool = True) -> None:
        """`delay`: seconds that everything takes each way; `reads`: whether messages are counted."""
        self._reads = reads
        self.delay = delay
        self._target = target
        self._lock = threading.Lock()
        self._cost = Cost()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, direct: str) -> str:
        """`direct`, a URL of the server, by way of this relay."""
        return f"{direct.replace(f':{self._target}/', f':{self.port}/')}?sslmode=disable&gssencmode=disable"

    def close(self) -> None:
        """Stop listening; open connections end with their peers."""
        self._listener.close()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Cost]:
        """What passes inside the block."""
        with self._lock:
            self._cost = cost = Cost()
        yield cost
        with self._lock:
            self._cost = Cost()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                near.close()
                continue
            for item in (near, far):
                item.settimeout(None)
                item.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = _Session(self)
            for source, sink, reader in ((near, far, session.asked), (far, near, session.answered)):
                line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=self._read, args=(source, line, reader), daemon=True).start()
                threading.Thread(target=self._write, args=(sink, line), daemon=True).start()

    def _read(self, source: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]], reader: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(262144):
                if self._reads:
                    with self._lock:
                        reader(data, self._cost)
                line.put((time.monotonic() + self.delay, data))
        line.put((0.0, b""))

    def _write(self, sink: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        while True:
            due, data = line.get()
            if not data:
                break
            wait = due - time.monotonic()
            if self.delay and wait > 0:
                time.sleep(wait)
            try:
                sink.sendall(data)
            except OSError:
                break
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


class _Session:
    """The messages of one connection."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._asked = bytearray()
        self._answered = bytearray()
        self._started = False
        # Whether the server has said that it is ready since the client's last message.
        self._ready = True
        self._names: dict[bytes, str] = {}
        self._locked_since = 0.0

    def asked(self, data: bytes, cost: Cost) -> None:
        """Read what the client sends."""
        self._asked += data
        if not self._started:
            # The first message has no type.
            if len(self._asked) < 4 or len(self._asked) < struct.unpack_from("!I", self._asked)[0]:
                return
            del self._asked[: struct.unpack_from("!I", self._asked)[0]]
            self._started = True
        for kind, body in _messages(self._asked):
            if kind in (_FLUSH, _TERMINATE):
                continue
            if self._ready:
                self._ready = False
                cost.bursts.append([])
            text = self._statement(kind, body)
            if text is None:
                continue
            if not cost.bursts:
                cost.bursts.append([])
            cost.bursts[-1].append(text)
            if "quotas" in text and not self._locked_since and not text.startswith("SELECT quotas.id"):
                self._locked_since = time.monotonic()

    def _statement(self, kind: int, body: bytes) -> str | None:
        if kind == _QUERY:
            return body.rstrip(b"\0").decode()
        if kind == _PARSE:
            name, text, _ = body.split(b"\0", 2)
            self._names[name] = text.decode()
            return None
        if kind == _BIND:
            _, name, _ = body.split(b"\0", 2)
            return self._names.get(name, "?")
        return None

    def answered(self, data: bytes, cost: Cost) -> None:
        """Read what the server answers."""
        self._answered += data
        for kind, body in _messages(self._answered):
            if kind == _READY:
                self._ready = True
                if body == b"I" and self._locked_since:
                    cost.held += time.monotonic() - self._locked_since
                    self._locked_since = 0.0


def _messages(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """(type, body) of the whole messages at the start of `buffer`, which they leave."""
    while len(buffer) >= 5:
        length = struct.unpack_from("!I", buffer, 1)[0]
        if len(buffer) < length + 1:
            return
        kind, body = buffer[0], bytes(buffer[5 : length + 1])
        del buffer[: length + 1]
        yield kind, body


def main() -> None:
    """`python -m tests.support.trips PORT TARGET DELAY`: a relay until the process is ended."""
    port, target, delay = sys.argv[1:]
    Relay(int(target), port=int(port), delay=float(delay), reads=False)
    threading.Event().wait()


if __name__ == "__main__":
    main()
