"""Health and metrics of `seawall jobservice`, at a port of its own (`jobs.health_port`).

`/healthz` says whether the runner goes round at all: 503 means that it hangs, and only a restart helps. A
database that is away is no reason, for the runner waits for it. `/readyz` says whether it has done so with a
database that answers. The event loop that runs the jobs answers both, so a loop that is blocked gives none.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from seawall.infra.jobs.runner import Runner
from seawall.kernel.errors import ConfigError
from seawall.web.internal.exposition import Collected, of_instance

# Longer than a statement may take (`database.statement_seconds`) and a failover after it.
HUNG_SECONDS = 120.0
AWAY_SECONDS = 30.0
_PATIENCE = 5.0
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

_RUNNING = Gauge("seawall_jobs_running", "Jobs that this runner has under way", multiprocess_mode="livesum")
_SLOTS = Gauge("seawall_jobs_slots", "Jobs that this runner may have under way", multiprocess_mode="livesum")

Answer = tuple[int, str, bytes]


def answer(runner: Runner, method: str, path: str) -> Answer:
    """(status, content type, body) of a request."""
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
        _RUNNING.set(runner.running)
        _SLOTS.set(runner.slots)
        return 200, CONTENT_TYPE_LATEST, generate_latest(Collected(of_instance()))
    return 404, "text/plain", b"/healthz, /readyz or /metrics\n"


@contextlib.asynccontextmanager
async def health_port(runner: Runner, host: str, port: int | None) -> AsyncIterator[None]:
    """Answer at `port` while the block runs; None: nowhere. Raises ConfigError when the port is taken."""
    if port is None:
        yield
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE):
                await _exchange(runner, reader, writer)
        writer.close()

    try:
        server = await asyncio.start_server(serve, host, port, limit=8192)
    except OSError as error:
        raise ConfigError(f"jobs.health_port: {host}:{port}: {error.strerror}") from None
    async with server:
        yield


async def _exchange(runner: Runner, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return
    method, target, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    status, kind, body = answer(runner, method, target.partition("?")[0])
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n".encode()
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    writer.write(head + (b"" if method == "HEAD" else body))
    await writer.drain()
