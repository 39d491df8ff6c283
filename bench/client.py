"""A small HTTP/1.1 client on blocking sockets, cheap enough not to be what is measured.

Bodies leave by `sendfile`, large answers are read into one reused buffer. All targets are measured by the
same code. It understands what registries answer with (Content-Length), nothing more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 120
_BUFFER = 1024 * 1024


class UnexpectedAnswerError(Exception):
    """A server answered with another status or length than the benchmark needs."""


class Source:
    """`size` bytes of body data in a file, of which any number of distinct variants can be sent.

    Only the last 32 bytes differ between variants, so the digest of each costs next to nothing: the hash
    of what comes before is computed once.
    """

    _TAIL = 32

    def __init__(self, path: Path, size: int) -> None:
        """Write the file: random bytes, so that nothing can compress them away."""
        self.path = path
        self.size = size
        self._hash = hashlib.sha256()
        self._common = size - self._TAIL
        block = os.urandom(min(self._common, 16 * 1024 * 1024))
        with path.open("wb") as file:
            left = self._common
            while left:
                part = block[:left]
                file.write(part)
                self._hash.update(part)
                left -= len(part)
            self._own_tail = os.urandom(self._TAIL)
            file.write(self._own_tail)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close and remove the file."""
        os.close(self._fd)
        self.path.unlink()

    def variant(self) -> Body:
        """A body nobody has seen before."""
        return self._body(os.urandom(self._TAIL))

    def as_written(self) -> Body:
        """The body that the file holds."""
        return self._body(self._own_tail)

    def _body(self, tail: bytes) -> Body:
        digest = self._hash.copy()
        digest.update(tail)
        return Body(f"sha256:{digest.hexdigest()}", self.size, tail, self._fd)


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: `tail` preceded by `size - len(tail)` bytes of the file `fd` (-1: no file)."""

    digest: str
    size: int
    tail: bytes
    fd: int = -1

    @staticmethod
    def of(data: bytes) -> Body:
        """A body held in memory."""
        return Body(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)

    def send(self, connection: socket.socket, head: bytes) -> None:
        """Send request head and body."""
        common = self.size - len(self.tail)
        if not common:
            connection.sendall(head + self.tail)
            return
        connection.sendall(head, socket.MSG_MORE)
        sent = 0
        while sent < common:
            sent += os.sendfile(connection.fileno(), self.fd, sent, min(common - sent, 1 << 28))
        connection.sendall(self.tail)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body; `length` is the body's length when it was not kept."""

    status: int
    headers: dict[str, str]
    body: bytes
    length: int


class Connection:
    """One keep-alive connection to a loopback port."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        """`headers` go with every request."""
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
        # The kernel's own timeouts: a Python timeout would make the socket non-blocking and sendfile fail.
        self._socket.settimeout(None)
        limit = struct.pack("ll", _TIMEOUT_SECONDS, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        common = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        self._common = "".join(f"{name}: {value}\r\n" for name, value in common.items())
        self._buffer = bytearray(_BUFFER)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        expect: int,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        keep: bool = True,
    ) -> Answer:
        """Send one request and read its answer; `keep` False throws the body away as it arrives.

        `target` may be an absolute URL, of which path and query are used. Raises UnexpectedAnswerError
        when the status is not `expect`, OSError when the connection breaks or times out.
        """
        parts = urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"{method} {path} HTTP/1.1\r\n{self._common}"
        for name, value in (headers or {}).items():
            head += f"{name}: {value}\r\n"
        if body is not None:
            head += f"Content-Length: {body.size}\r\n\r\n"
            body.send(self._socket, head.encode())
        elif method in ("POST", "PUT"):
            self._socket.sendall((head + "Content-Length: 0\r\n\r\n").encode())
        else:
            self._socket.sendall((head + "\r\n").encode())
        answer = self._read(method, keep)
        if answer.status != expect:
            text = answer.body[:200].decode("latin-1")
            raise UnexpectedAnswerError(f"{method} {path}: {answer.status}, wanted {expect}: {text}")
        return answer

    def push_blob(self, repository: str, body: Body) -> None:
        """POST a session, PUT the whole body; returns once the registry has acknowledged it."""
        session = self.request("POST", f"/v2/{repository}/blobs/uploads/", expect=202)
        location = session.headers["location"]
        location += ("&" if "?" in location else "?") + f"digest={body.digest}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self.request("PUT", location, expect=201, headers=headers, body=body)
        if answer.headers.get("docker-content-digest") != body.digest:
            raise UnexpectedAnswerError(f"blob was stored as {answer.headers.get('docker-content-digest')}")

    def push_manifest(self, repository: str, tag: str, media_type: str, body: Body) -> None:
        """PUT a manifest under a tag."""
        target = f"/v2/{repository}/manifests/{tag}"
        answer = self.request("PUT", target, expect=201, headers={"Content-Type": media_type}, body=body)
        if answer.headers.get("docker-content-digest") != body.digest:
            raise UnexpectedAnswerError("manifest was stored under another digest")

    def _receive(self, view: memoryview) -> int:
        count = self._socket.recv_into(view)
        if not count:
            raise ConnectionResetError("server closed the connection")
        return count

    def _read(self, method: str, keep: bool) -> Answer:
        view = memoryview(self._buffer)
        filled = 0
        end = -1
        while end < 0:
            filled += self._receive(view[filled:])
            end = self._buffer.find(b"\r\n\r\n", 0, filled)
        lines = bytes(view[:end]).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "transfer-encoding" in headers:
            raise UnexpectedAnswerError(f"{method}: {status} with a chunked body")
        length = 0 if method == "HEAD" or status in (204, 304) else int(headers.get("content-length", "0"))
        got = filled - end - 4
        if got > length:
            raise UnexpectedAnswerError(f"{method}: {status} with {got} bytes, Content-Length says {length}")
        body = bytearray(view[end + 4 : filled]) if keep else bytearray()
        while got < length:
            count = self._receive(view[: min(length - got, _BUFFER)])
            got += count
            if keep:
                body += view[:count]
        return Answer(status, headers, bytes(body), length)


def fetch(port: int, path: str, headers: dict[str, str], expect: int = 200) -> Answer:
    """One GET on a connection of its own."""
    with contextlib.closing(Connection(port, headers)) as connection:
        return connection.request("GET", path, expect=expect)
