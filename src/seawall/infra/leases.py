"""One writer at a time to an upload session, for storage that has no locks of its own.

A lease is a row that its holder renews. It is a courtesy, not what keeps content right: two writers cannot
mix their bytes (see `seawall.infra.storage.objects`), but the one that comes second should learn it at once
and not after it sent everything. A holder that died is taken over from within `SECONDS`; a request that finds
the lease taken waits just long enough to see whether it is being renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from seawall.infra.db import Database
from seawall.infra.db.dialect import clock, upsert
from seawall.infra.storage import UploadWriter
from seawall.infra.storage.base import UploadBusyError
from seawall.infra.tables import upload_leases
from seawall.infra.telemetry import Family
from seawall.kernel.errors import UnavailableError

SECONDS = 6.0
_RENEW = 2.0
_LOOK = 0.25


class Lease:
    """Held until `release`."""

    def __init__(self, db: Database, upload_id: str, owner: str) -> None:
        self._db = db
        self._id = upload_id
        self._owner = owner
        self._task = asyncio.create_task(self._renew())

    async def release(self) -> None:
        """Let the next one write."""
        self._task.cancel()
        # Not released because the database is away, it runs out.
        with contextlib.suppress(UnavailableError):
            await self._db.write(
                lambda c: c.execute(delete(upload_leases).where(*self._mine())), durable=False
            )

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return upload_leases.c.upload_id == self._id, upload_leases.c.owner == self._owner

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            with contextlib.suppress(UnavailableError):
                await self._db.write(
                    lambda c: c.execute(
                        update(upload_leases).where(*self._mine()).values(expires_at=clock(c) + SECONDS)
                    ),
                    durable=False,
                )


class LeasedWriter:
    """A writer and the lease under which it writes; see UploadWriter."""

    def __init__(self, writer: UploadWriter, lease: Lease) -> None:
        self._writer = writer
        self.lease = lease

    @property
    def offset(self) -> int:
        """See UploadWriter.offset."""
        return self._writer.offset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """See UploadWriter.write."""
        await self._writer.write(data)

    @property
    def surplus(self) -> bool:
        """See UploadWriter.surplus."""
        return self._writer.surplus

    async def pause(self, *, held: bool = False) -> dict[str, Any]:
        """See UploadWriter.pause."""
        return await self._writer.pause(held=held)

    async def leave(self) -> None:
        """See UploadWriter.leave."""
        await self._writer.leave()

    async def digest(self, algorithm: str) -> str:
        """See UploadWriter.digest."""
        return await self._writer.digest(algorithm)

    async def commit(self, key: str) -> str:
        """See UploadWriter.commit."""
        return await self._writer.commit(key)

    async def finish(self) -> None:
        """See UploadWriter.finish."""
        await self._writer.finish()

    async def abort(self) -> None:
        """See UploadWriter.abort."""
        await self._writer.abort()

    async def release(self) -> None:
        """See UploadWriter.release."""
        await self._writer.release()


async def acquire(db: Database, upload_id: str) -> Lease:
    """The lease of session `upload_id`. Raises UploadBusyError when its holder is alive."""
    owner = secrets.token_hex(16)
    seen: float | None = None
    deadline = time.monotonic() + SECONDS + _RENEW
    while True:
        expires = await db.write(lambda c: _take(c, upload_id, owner), durable=False)
        if expires is None:
            return Lease(db, upload_id, owner)
        if (seen is not None and expires > seen) or time.monotonic() > deadline:
            raise UploadBusyError
        seen = expires
        await asyncio.sleep(_LOOK)


def forget(connection: Connection, upload_id: str) -> None:
    """Drop the lease of a session that is deleted, which its holder may have died with."""
    connection.execute(delete(upload_leases).where(upload_leases.c.upload_id == upload_id))


async def acquire_slot(db: Database, name: str, slots: int) -> Lease | None:
    """One of `slots` leases of a name (at most 28 characters), None when all are held."""
    owner = secrets.token_hex(16)

    def take_slot(connection: Connection) -> str | None:
        for number in range(slots):
            slot = f"{name}-{number}"
            if _take(connection, slot, owner) is None:
                return slot
        return None

    taken = await db.write(take_slot, durable=False)
    return None if taken is None else Lease(db, taken, owner)


def figures(connection: Connection) -> list[Family]:
    """How many leases are held."""
    query = select(func.count()).where(upload_leases.c.expires_at > clock(connection))
    number = connection.execute(query.select_from(upload_leases)).scalar_one()
    return [Family.single("seawall_leases", "Leases that are held now", float(number))]


def _take(connection: Connection, upload_id: str, owner: str) -> float | None:
    """None when the lease is `owner`'s now, else when it runs out."""
    now = clock(connection)
    row = {"upload_id": upload_id, "owner": owner, "expires_at": now + SECONDS}
    over = upload_leases.c.expires_at < now
    connection.execute(
        upsert(connection, upload_leases, row, "upload_id", ("owner", "expires_at"), when=over)
    )
    found = connection.execute(
        select(upload_leases.c.owner, upload_leases.c.expires_at).where(
            upload_leases.c.upload_id == upload_id
        )
    ).first()
    if found is None:
        # Its holder let go between the two statements.
        return 0.0
    return None if found[0] == owner else float(found[1])
