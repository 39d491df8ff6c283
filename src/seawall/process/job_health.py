"""Health and metrics of `seawall jobservice`, at a port of its own (`jobs.health_port`).

`/healthz` says whether the runner goes round at all: 503 means that it hangs, and only a restart helps. A
database that is away does not count, because the runner waits for it. `/readyz` says whether the runner goes
round with a database that answers. The event loop that runs the jobs answers both, so a blocked loop
gives none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterable

from prometheus_client import Gauge
from prometheus_client.exposition import choose_encoder

from seawall.infra.jobs.runner import Runner
from seawall.kernel.errors import ConfigError
from seawall.web.internal.exposition import Collected, of_instance
from seawall.web.internal.metrics import shows_token

# Longer than a statement may take (`database.statement_seconds`) and a failover after it.
HUNG_SECONDS = 120.0
AWAY_SECONDS = 30.0
_PATIENCE = 5.0
_REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

_RUNNING = Gauge("seawall_jobs_running", "Jobs that this runner works on", multiprocess_mode="livesum")
_SLOTS = Gauge(
    "seawall_jobs_slots", "Most jobs that this runner works on at once", multiprocess_mode="livesum"
)

Answer = tuple[int, str, bytes]


def answer(runner: Runner, method: str, path: str, *, shows: bool = True, accept: str = "") -> Answer:
    """(status, content type, body) of a request; `shows`: whether it may read `/metrics`."""
    if method not in ("GET", "HEAD"):
        return 405, "text/plain", b"GET only\n"
    now = time.monotonic()
    if path == "/healthz":
        idle = now - runner.turned_at
        hung = idle > HUNG_SECONDS
        return 503 if hung else 200, "text/plain", b"hangs\n" if hung else b"ok\n"
    if path == "/readyz":
        ready = now - runner.reached_at <= AWAY_SECONDS and not runner.draining
        return 200 if ready else 503, "text/plain", b"ready\n" if ready else b"no database, or ending\n"
    if path == "/metrics":
        if not shows:
            return 401, "text/plain", b"metrics.token is set: send it as Authorization: Bearer TOKEN\n"
        _RUNNING.set(runner.running)
        _SLOTS.set(runner.slots)
        encode, kind = choose_encoder(accept)
        return 200, kind, encode(Collected(of_instance()))
    return 404, "text/plain", b"/healthz, /readyz or /metrics\n"


@contextlib.asynccontextmanager
async def health_port(
    runner: Runner, host: str, port: int | None, token: str | None = None
) -> AsyncIterator[None]:
    """Answer at `port` while the block runs; None: nowhere. Raises ConfigError when the port is taken.

    `token`: what `/metrics` asks for.
    """
    if port is None:
        yield
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE):
                await _exchange(runner, reader, writer, token)
        writer.close()

    try:
        server = await asyncio.start_server(serve, sock=_listener(host, port), limit=8192)
    except OSError as error:
        raise ConfigError(f"jobs.health_port: {host}:{port}: {error.strerror}") from None
    async with server:
        yield


def _listener(host: str, port: int) -> socket.socket:
    """A socket at `host`; of `::` it takes IPv4 too, as the server does, which asyncio turns off."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(
        address[:2], family=family, dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6()
    )


async def _exchange(
    runner: Runner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str | None
) -> None:
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    except asyncio.LimitOverrunError:
        return
    method, target, _ = first.decode("latin-1").split(" ", 2)
    shows = shows_token(_header(lines, b"authorization"), token)
    accept = _header(lines, b"accept")
    status, kind, body = answer(runner, method, target.partition("?")[0], shows=shows, accept=accept)
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n".encode()
    if status == 401:
        head += b'WWW-Authenticate: Bearer realm="metrics"\r\n'
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    writer.write(head + (b"" if method == "HEAD" else body))
    await writer.drain()


def _header(lines: Iterable[bytes], name: bytes) -> str:
    for line in lines:
        given, _, value = line.partition(b":")
        if given.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""
