"""The outbox dispatcher: hands recorded events to their subscribers, at least once.

Any runner may dispatch. Rows are taken by moving their `next_at` into the future (a lease), so two
dispatchers do not deliver the same row at once and a dead one's rows come round again by themselves. Each
subscriber is served by a task of its own: one that fails or is slow delays nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import Connection, delete, select, update

from seawall.infra import tracing
from seawall.infra.db import Database, dialect
from seawall.infra.outbox.events import Subscribers
from seawall.infra.outbox.tables import outbox

log: Any = structlog.get_logger("seawall.infra.jobs")

POLL_SECONDS = 0.5
# How long a taken row is left alone by others; a handler gets half of it.
LEASE_SECONDS = 60.0
BATCH = 100
MAX_BACKOFF = 300.0


class Dispatcher:
    """Delivers events in this process until cancelled."""

    def __init__(
        self, db: Database, subscribers: Subscribers, writable: Callable[[], Awaitable[bool]]
    ) -> None:
        """`writable`: nothing is delivered while it says no (a standby's outbox is the active's)."""
        self._writable = writable
        self._db = db
        self._subscribers = subscribers
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                try:
                    await self._turn()
                except Exception as error:
                    log.warning("outbox: cannot reach the database", error=type(error).__name__)
                    await asyncio.sleep(1)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
                self._wake.clear()
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _turn(self) -> None:
        names = [name for name in self._subscribers.handlers if name not in self._busy]
        if not names or not await self._writable():
            return

        def due(connection: Connection) -> list[str]:
            query = select(outbox.c.subscriber).where(
                outbox.c.next_at <= dialect.clock(connection, began=True), outbox.c.subscriber.in_(names)
            )
            return list(connection.execute(query.distinct()).scalars())

        for name in await self._db.read(due):
            task = asyncio.create_task(self._serve(name), name=f"outbox {name}")
            self._busy[name] = task
            task.add_done_callback(lambda _, name=name: self._done(name))  # type: ignore[misc]

    def _done(self, name: str) -> None:
        self._busy.pop(name, None)
        self._wake.set()

    async def _serve(self, name: str) -> None:
        handler = self._subscribers.handlers[name]
        rows = await self._db.write(lambda c: _take(c, name), durable=False)
        delivered: list[int] = []
        left = {row[0] for row in rows}
        deadline = asyncio.get_running_loop().time() + LEASE_SECONDS / 2
        for row_id, kind, data, attempts, trace in rows:
            if asyncio.get_running_loop().time() > deadline:
                break
            left.discard(row_id)
            try:
                # Without a trace of its change an event begins none: there are many, and most do little.
                with _traced(name, kind, attempts, trace):
                    await asyncio.wait_for(handler(kind, data), LEASE_SECONDS / 2)
                delivered.append(row_id)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"[:1000]
                log.warning("event handler failed", subscriber=name, kind=kind, error=message)
                wait = min(2.0**attempts, MAX_BACKOFF)
                await self._db.write(
                    lambda c, row_id=row_id, attempts=attempts, wait=wait, message=message: c.execute(  # type: ignore[misc]
                        update(outbox)
                        .where(outbox.c.id == row_id)
                        .values(attempts=attempts + 1, next_at=dialect.now(c) + wait, last_error=message)
                    ),
                    durable=False,
                )
        if left:
            # Not reached in this lease's time: free for the next turn, here or elsewhere.
            await self._db.write(
                lambda c: c.execute(update(outbox).where(outbox.c.id.in_(left)).values(next_at=0)),
                durable=False,
            )
        if delivered:
            await self._db.write(lambda c: c.execute(delete(outbox).where(outbox.c.id.in_(delivered))))


def _traced(name: str, kind: str, attempts: int, trace: str | None) -> tracing.Span | tracing.Nothing:
    if trace is None:
        return tracing.NOTHING
    attributes: dict[str, Any] = {"seawall.event": kind, "seawall.attempt": attempts + 1}
    return tracing.continued(f"event {name}", trace, **attributes)


def _take(connection: Connection, name: str) -> list[tuple[int, str, dict[str, Any], int, str | None]]:
    now = dialect.now(connection)
    rows = [
        (row[0], row[1], row[2], row[3], row[4])
        for row in connection.execute(
            select(outbox.c.id, outbox.c.kind, outbox.c.data, outbox.c.attempts, outbox.c.trace)
            .where(outbox.c.subscriber == name, outbox.c.next_at <= now)
            .order_by(outbox.c.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
    ]
    if rows:
        connection.execute(
            update(outbox)
            .where(outbox.c.id.in_([row[0] for row in rows]))
            .values(next_at=now + LEASE_SECONDS)
        )
    return rows
